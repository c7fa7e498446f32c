using Confluent.Kafka;
using Confluent.Kafka.Admin;

namespace KBroker.Compat.Confluent.Tests;

public sealed class ErrorTests(ConfluentFixture fixture) : ConfluentTest(fixture)
{
    [Fact]
    public async Task An_unknown_topic_is_not_created_when_auto_creation_is_off()
    {
        using var producer = Producer(c => c.Set("topic.metadata.propagation.max.ms", "300"));
        var topic = Fixture.NewName();
        var failure = await FailureAsync(producer.ProduceAsync(topic, Message("x")));
        Assert.Contains(failure.Error.Code, new[] { ErrorCode.UnknownTopicOrPart, ErrorCode.Local_UnknownTopic });
        Assert.DoesNotContain(Fixture.Admin.GetMetadata(Limit).Topics, t => t.Topic == topic);
        Assert.Equal(ErrorCode.UnknownTopicOrPart, Fixture.Admin.GetMetadata(topic, Limit).Topics[0].Error.Code);
    }

    [Fact]
    public async Task A_message_above_max_message_bytes_is_refused_by_the_broker()
    {
        var topic = await Fixture.CreateTopicAsync();
        using var producer = Producer(c => c.MessageMaxBytes = 3_000_000);
        var large = new Message<byte[]?, byte[]?> { Value = new byte[2_000_000] };
        var failure = await FailureAsync(producer.ProduceAsync(topic, large));
        Assert.Equal(ErrorCode.MsgSizeTooLarge, failure.Error.Code);
        var report = await producer.ProduceAsync(topic, Message("small"));
        Assert.Equal(0, report.Offset.Value);
    }

    [Theory]
    [InlineData("bad name!")]
    [InlineData("..")]
    [InlineData("schrödinger")]
    public async Task A_bad_topic_name_is_refused(string name)
    {
        var error = await CreationErrorAsync(new() { Name = name, NumPartitions = 1, ReplicationFactor = 1 });
        Assert.Equal(ErrorCode.TopicException, error.Code);
    }

    [Fact]
    public async Task A_topic_name_longer_than_249_is_refused()
    {
        var name = new string('x', 250);
        var error = await CreationErrorAsync(new() { Name = name, NumPartitions = 1, ReplicationFactor = 1 });
        Assert.Equal(ErrorCode.TopicException, error.Code);
    }

    [Fact]
    public async Task A_topic_that_is_there_is_not_created_again()
    {
        var topic = await Fixture.CreateTopicAsync();
        var error = await CreationErrorAsync(new() { Name = topic, NumPartitions = 1, ReplicationFactor = 1 });
        Assert.Equal(ErrorCode.TopicAlreadyExists, error.Code);
        Assert.Contains(topic, error.Reason);
    }

    [Fact]
    public async Task A_replication_factor_above_the_number_of_brokers_is_refused()
    {
        var name = Fixture.NewName();
        var error = await CreationErrorAsync(new() { Name = name, NumPartitions = 1, ReplicationFactor = 3 });
        Assert.Equal(ErrorCode.InvalidReplicationFactor, error.Code);
    }

    [Theory]
    [InlineData("retention.ms", "soon")]
    [InlineData("cleanup.policy", "recycle")]
    [InlineData("compression.type", "rar")]
    [InlineData("no.such.config", "1")]
    public async Task A_bad_config_is_refused_with_its_name(string name, string value)
    {
        var topic = new TopicSpecification
        {
            Name = Fixture.NewName(),
            NumPartitions = 1,
            ReplicationFactor = 1,
            Configs = new() { [name] = value },
        };
        var error = await CreationErrorAsync(topic);
        Assert.Equal(ErrorCode.InvalidConfig, error.Code);
        Assert.Contains(name, error.Reason);
    }

    [Fact]
    public async Task Deleting_an_unknown_topic_is_an_error()
    {
        var failure = await Assert.ThrowsAsync<DeleteTopicsException>(
            () => Fixture.Admin.DeleteTopicsAsync([Fixture.NewName()]));
        Assert.Equal(ErrorCode.UnknownTopicOrPart, failure.Results[0].Error.Code);
    }

    [Fact]
    public async Task A_message_without_a_key_is_refused_by_a_compacted_topic()
    {
        var topic = await Fixture.CreateTopicAsync(1, ("cleanup.policy", "compact"));
        using var producer = Producer();
        var failure = await FailureAsync(producer.ProduceAsync(topic, Message("x")));
        Assert.Equal(ErrorCode.InvalidRecord, failure.Error.Code);
        Assert.Equal(0, (await producer.ProduceAsync(topic, Message("x", "key"))).Offset.Value);
    }

    private static Task<ProduceException<byte[]?, byte[]?>> FailureAsync(Task produced) =>
        Assert.ThrowsAnyAsync<ProduceException<byte[]?, byte[]?>>(() => produced);

    private async Task<Error> CreationErrorAsync(TopicSpecification topic)
    {
        var failure = await Assert.ThrowsAsync<CreateTopicsException>(() => Fixture.Admin.CreateTopicsAsync([topic]));
        return Assert.Single(failure.Results).Error;
    }
}
