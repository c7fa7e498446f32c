using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Cluster.Tests.Metadata;

/// <summary>Codes and messages are those that Apache Kafka 4.3.1 gave to the same requests.</summary>
public sealed class LocalControllerTopicTests
{
    [Theory]
    [InlineData("", ErrorCode.InvalidTopicException, "the empty string is not allowed")]
    [InlineData("..", ErrorCode.InvalidTopicException, "'..' is not allowed")]
    [InlineData("bad name", ErrorCode.InvalidTopicException, "'bad name' contains one or more characters")]
    [InlineData("a_b", ErrorCode.InvalidTopicException, "Topic 'a_b' collides with existing topic: a.b")]
    [InlineData("a.b", ErrorCode.TopicAlreadyExists, "Topic 'a.b' already exists.")]
    [InlineData("__cluster_metadata", ErrorCode.InvalidRequest,
        "Creation of internal topic __cluster_metadata is prohibited.")]
    public async Task A_name_is_refused(string name, ErrorCode error, string message)
    {
        await using var home = await new MetadataHome().StartAsync();
        await home.CreateAsync("a.b");
        var result = await home.CreateAsync(name);

        Assert.Equal(error, result.ErrorCode);
        Assert.Contains(message, result.ErrorMessage);
        Assert.Equal((Uuid.Zero, -1, (short)-1), (result.TopicId, result.NumPartitions, result.ReplicationFactor));
        Assert.Single(home.Image.Topics.ByName);
    }

    [Theory]
    [InlineData(0, 1, ErrorCode.InvalidPartitions, "Number of partitions was set to an invalid non-positive value.")]
    [InlineData(-2, 1, ErrorCode.InvalidPartitions, "Number of partitions was set to an invalid non-positive value.")]
    [InlineData(1, 0, ErrorCode.InvalidReplicationFactor, "Replication factor must be larger than 0")]
    [InlineData(1, 3, ErrorCode.InvalidReplicationFactor,
        "Unable to replicate the partition 3 time(s): The target replication")]
    [InlineData(10_001, 1, ErrorCode.PolicyViolation, "Excessively large number of partitions per request.")]
    public async Task A_size_is_refused(int partitions, short factor, ErrorCode error, string message)
    {
        await using var home = await new MetadataHome().StartAsync();
        var result = await home.CreateAsync("t", partitions, factor);

        Assert.Equal(error, result.ErrorCode);
        Assert.StartsWith(message, result.ErrorMessage);
    }

    [Theory]
    [InlineData("nope", "x", "Unknown topic config name: nope")]
    [InlineData("retention.ms", "x", "Invalid value x for configuration retention.ms: Not a number of type LONG")]
    [InlineData("retention.ms", null, "Null value not supported for topic configs: retention.ms")]
    public async Task A_config_is_refused(string config, string? value, string message)
    {
        await using var home = await new MetadataHome().StartAsync();
        var result = await home.CreateAsync("t", configs: (config, value));

        Assert.Equal((ErrorCode.InvalidConfig, message), (result.ErrorCode, result.ErrorMessage));
    }

    [Fact]
    public async Task A_created_topic_is_answered_with_its_sizes_and_configs()
    {
        await using var home = await new MetadataHome(null, ("num.partitions", "4")).StartAsync();
        var result = await home.CreateAsync("t", partitions: -1, factor: -1, configs: ("retention.ms", "5"));

        Assert.Equal((ErrorCode.None, 4, (short)1), (result.ErrorCode, result.NumPartitions, result.ReplicationFactor));
        var retention = result.Configs!.Single(c => c.Name == "retention.ms");
        Assert.Equal(("5", (sbyte)1, false), (retention.Value, retention.ConfigSource, retention.ReadOnly));
        var partition = home.Image.Topics.Find(result.TopicId)!.Partitions[3];
        Assert.Equal([1], partition.Isr);
        Assert.Equal(home.Logs.Directories[0].DirectoryId, partition.DirectoryOf(1));
    }

    [Fact]
    public async Task Validate_only_creates_nothing()
    {
        await using var home = await new MetadataHome().StartAsync();
        var end = home.Log.NextOffset;
        var result = await home.CreateAsync("t", validateOnly: true);

        Assert.Equal(ErrorCode.None, result.ErrorCode);
        Assert.Equal((0, end), (home.Image.Topics.Count, home.Log.NextOffset));
    }

    [Fact]
    public async Task Names_twice_in_a_request_are_refused_and_the_others_created()
    {
        await using var home = await new MetadataHome().StartAsync();
        CreateTopicsRequest.CreatableTopic Topic(string name) =>
            new() { Name = name, NumPartitions = 1, ReplicationFactor = 1 };
        var response = await home.Controller.CreateTopicsAsync(new() { Topics = [Topic("x"), Topic("x"), Topic("y")] });

        Assert.Equal((ErrorCode.InvalidRequest, "Duplicate topic name."), Of("x"));
        Assert.Equal((ErrorCode.None, null), Of("y"));
        (ErrorCode, string?) Of(string name) =>
            response.Topics.Where(t => t.Name == name).Select(t => (t.ErrorCode, t.ErrorMessage)).Single();
    }

    [Theory]
    [InlineData("0:4", "The manual partition assignment includes broker 4, but no such broker is registered.")]
    [InlineData("1:1", "partitions should be a consecutive 0-based integer sequence")]
    [InlineData("0:1,1", "The manual partition assignment includes the broker 1 more than once.")]
    [InlineData("0:", "The manual partition assignment includes an empty replica list.")]
    [InlineData("0:1;0:1", "Found multiple manual partition assignments for partition 0")]
    public async Task A_manual_assignment_is_refused(string text, string message)
    {
        await using var home = await new MetadataHome().StartAsync();
        var topic = new CreateTopicsRequest.CreatableTopic { Name = "t", NumPartitions = -1, ReplicationFactor = -1 };
        foreach (var part in text.Split(';'))
            topic.Assignments.Add(new()
            {
                PartitionIndex = int.Parse(part.Split(':')[0]),
                BrokerIds = [.. part.Split(':')[1].Split(',', StringSplitOptions.RemoveEmptyEntries).Select(int.Parse)],
            });
        var result = (await home.Controller.CreateTopicsAsync(new() { Topics = [topic] })).Topics.Single();

        Assert.Equal((ErrorCode.InvalidReplicaAssignment, message), (result.ErrorCode, result.ErrorMessage));
    }

    [Fact]
    public async Task Topics_are_deleted_by_name_and_by_id()
    {
        await using var home = await new MetadataHome().StartAsync();
        await home.CreateAsync("a");
        var b = await home.CreateAsync("b");
        await home.SetAsync(ConfigResourceType.Topic, "a", "retention.ms", "1");
        var response = await home.Controller.DeleteTopicsAsync(new()
        {
            Topics = [new() { Name = "a" },
            new() { TopicId = b.TopicId }]
        });

        Assert.All(response.Responses, r => Assert.Equal(ErrorCode.None, r.ErrorCode));
        Assert.Equal(["a", "b"], response.Responses.Select(r => r.Name).Order());
        Assert.Equal(0, home.Image.Topics.Count);
        Assert.Empty(home.Image.Configs.OfTopic("a"));
        Assert.Equal(ErrorCode.None, (await home.CreateAsync("a")).ErrorCode);
    }

    [Fact]
    public async Task A_deletion_that_makes_no_sense_is_refused()
    {
        await using var home = await new MetadataHome().StartAsync();
        var id = (await home.CreateAsync("a")).TopicId;
        var unknown = Uuid.Random();
        var response = await home.Controller.DeleteTopicsAsync(new()
        {
            Topics =
            [
                new() { Name = "nope" }, new() { TopicId = unknown }, new(), new() { Name = "both", TopicId = unknown },
                new() { Name = "a" }, new() { TopicId = id }, new() { Name = "twice" }, new() { Name = "twice" },
            ],
        });

        Assert.Equal(
        [
            "UnknownTopicOrPartition nope: This server does not host this topic-partition.",
            "UnknownTopicId : This server does not host this topic ID.",
            "InvalidRequest : Neither topic name nor id were specified.",
            "InvalidRequest both: You may not specify both topic name and topic id.",
            "InvalidRequest a: The provided topic name maps to an ID that was already supplied.",
            "InvalidRequest twice: Duplicate topic name.",
        ], response.Responses.Select(r => $"{r.ErrorCode} {r.Name}: {r.ErrorMessage}"));
        Assert.Equal(1, home.Image.Topics.Count);
    }

    [Fact]
    public async Task Deletion_can_be_switched_off()
    {
        await using var home = await new MetadataHome(null, ("delete.topic.enable", "false")).StartAsync();
        await home.CreateAsync("a");
        var response = await home.Controller.DeleteTopicsAsync(new() { TopicNames = ["a"] });

        Assert.Equal(ErrorCode.TopicDeletionDisabled, response.Responses.Single().ErrorCode);
        Assert.Equal(1, home.Image.Topics.Count);
    }

    [Theory]
    [InlineData("t", 2, ErrorCode.InvalidPartitions, "Topic already has 2 partition(s).")]
    [InlineData("t", 1, ErrorCode.InvalidPartitions,
        "The topic t currently has 2 partition(s); 1 would not be an increase.")]
    [InlineData("t", -1, ErrorCode.InvalidPartitions,
        "The topic t currently has 2 partition(s); -1 would not be an increase.")]
    [InlineData("nope", 3, ErrorCode.UnknownTopicOrPartition, null)]
    [InlineData("t", 5, ErrorCode.None, null)]
    public async Task Partitions_are_added(string name, int count, ErrorCode error, string? message)
    {
        await using var home = await new MetadataHome().StartAsync();
        await home.CreateAsync("t", 2);
        var response = await home.Controller.CreatePartitionsAsync(
            new() { Topics = [new() { Name = name, Count = count, Assignments = null }] });

        Assert.Equal((error, message), (response.Results[0].ErrorCode, response.Results[0].ErrorMessage));
        Assert.Equal(error == ErrorCode.None ? count : 2, home.Image.Topics.Find("t")!.Partitions.Length);
    }

    [Fact]
    public async Task Many_requests_at_once_all_get_their_own_answer()
    {
        await using var home = await new MetadataHome().StartAsync();
        var results = await Task.WhenAll(Enumerable.Range(0, 200).Select(i => Task.Run(() =>
            home.CreateAsync($"t{i % 100}"))));

        Assert.Equal(100, results.Count(r => r.ErrorCode == ErrorCode.None));
        Assert.Equal(100, results.Count(r => r.ErrorCode == ErrorCode.TopicAlreadyExists));
        Assert.Equal(100, home.Image.Topics.Count);
    }

    [Fact]
    public async Task A_stopped_controller_says_so()
    {
        await using var home = await new MetadataHome().StartAsync();
        await home.Controller.DisposeAsync();

        Assert.Equal(ErrorCode.NotController, (await home.CreateAsync("t")).ErrorCode);
    }
}
