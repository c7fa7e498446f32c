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
        await journey.WorkAsync(async commands =>
        {
            await story.TellAsync(commands);
            await commands.ConfigureAsync(2, "own", ("retention.bytes", "1000000"));
        });
        await journey.StopAsync();
        await journey.StartKBrokerAsync();
        await journey.StopAsync();
    }

    private static void SkipWithoutBrokers()
    {
        Assert.SkipWhen(CompatEnvironment.KafkaHome is null, "no Apache Kafka here (--kafka-home DIR or KAFKA_HOME)");
        Assert.SkipWhen(CompatEnvironment.WhyNoBroker is not null, CompatEnvironment.WhyNoBroker ?? "");
    }
}
