using KBroker.Compat.Harness;
using KBroker.Compat.Interchange.Tests.Work;

namespace KBroker.Compat.Interchange.Tests;

/// <summary>Apache Kafka and KBroker in turn on the same directories.</summary>
public sealed class WalkTests
{
    [Fact]
    public async Task Kafka_then_KBroker_then_Kafka_then_KBroker_then_Kafka()
    {
        SkipWithoutBrokers();
        await using var journey = Journey.Begin();
        var story = new Story(journey.Batches);
        await journey.StartKafkaAsync();
        await journey.WorkAsync(story.TellAsync);
        await journey.StopAsync();
        await journey.StartKBrokerAsync();
        await journey.WorkAsync(story.TellAsync);
        await journey.KillAsync();
        await journey.StartKafkaAsync();
        await journey.WorkAsync(story.TellAsync);
        await journey.KillAsync();
        await journey.StartKBrokerAsync();
        await journey.WorkAsync(story.TellAsync);
        await journey.StopAsync();
        await new DumpTool(journey.Site).AssertReadsEverythingAsync();
        await journey.StartKafkaAsync();
        await journey.StopAsync();
    }

    [Fact]
    public async Task KBroker_formats_the_directory_and_Kafka_goes_on()
    {
        SkipWithoutBrokers();
        await using var journey = Journey.Begin();
        var story = new Story(journey.Batches);
        await journey.StartKBrokerAsync();
        await journey.WorkAsync(async commands =>
        {
            await story.TellAsync(commands);
            await commands.CreateAsync("own", 1, ("kbroker.flush.acks.all", "false"), ("retention.ms", "-1"));
            await commands.ConfigureAsync(4, "", ("kbroker.flush.acks.all", "true"));
        });
        await journey.StopAsync();
        await journey.StartKafkaAsync();
        await journey.AssertLockedForAsync(kafka: CompatEnvironment.TargetIsKafka);
        await journey.WorkAsync(async commands =>
        {
            await story.TellAsync(commands);
            // Kafka passes over what it does not know, and drops it from its next metadata snapshot.
            await commands.ConfigureAsync(2, "own", ("retention.bytes", "1000000"));
        });
        await journey.StopAsync();
        await journey.StartKBrokerAsync();
        await journey.WorkAsync(async commands =>
        {
            Assert.Equal("1000000", await commands.ConfigOfAsync(2, "own", "retention.bytes"));
        });
        await journey.StopAsync();
    }

    /// <summary>Other ways to format: a quorum whose voters are in the log, older feature levels.</summary>
    [Theory]
    [Trait("speed", "slow")]
    [InlineData("--standalone")]
    [InlineData("--standalone", "--release-version", "4.1")]
    [InlineData("--release-version", "3.9")]
    public async Task Whatever_way_Kafka_formatted_it(params string[] format)
    {
        SkipUnlessAll();
        await using var journey = Journey.Begin(format);
        var story = new Story(journey.Batches);
        await journey.StartKafkaAsync();
        await journey.WorkAsync(story.TellAsync);
        await journey.StopAsync();
        await journey.StartKBrokerAsync();
        await journey.WorkAsync(story.TellAsync);
        await journey.StopAsync();
        await journey.StartKafkaAsync();
        await journey.WorkAsync(story.TellAsync);
        await journey.StopAsync();
        await journey.StartKBrokerAsync();
        await journey.StopAsync();
    }

    /// <summary>A longer walk, every stop by SIGKILL or every one in good order.</summary>
    [Theory]
    [Trait("speed", "slow")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task To_and_fro(bool kill)
    {
        SkipUnlessAll();
        await using var journey = Journey.Begin();
        var story = new Story(journey.Batches);
        for (var i = 0; i < 6; i++)
        {
            await (i % 2 == 0 ? journey.StartKBrokerAsync() : journey.StartKafkaAsync());
            await journey.WorkAsync(story.TellAsync);
            await (kill ? journey.KillAsync() : journey.StopAsync());
        }

        await journey.StartKBrokerAsync();
        await journey.AssertLockedForAsync(kafka: true);
        await journey.StopAsync();
        await new DumpTool(journey.Site).AssertReadsEverythingAsync();
    }

    private static void SkipUnlessAll()
    {
        Assert.SkipWhen(Environment.GetEnvironmentVariable("KBROKER_INTERCHANGE_ALL") is null, "only with --all");
        SkipWithoutBrokers();
    }

    private static void SkipWithoutBrokers()
    {
        Assert.SkipWhen(CompatEnvironment.KafkaHome is null, "no Apache Kafka here (--kafka-home DIR or KAFKA_HOME)");
        Assert.SkipWhen(CompatEnvironment.WhyNoBroker is not null, CompatEnvironment.WhyNoBroker ?? "");
    }
}
