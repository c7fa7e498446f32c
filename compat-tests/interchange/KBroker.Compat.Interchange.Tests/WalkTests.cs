using KBroker.Compat.Harness;
using KBroker.Compat.Interchange.Tests.Work;

namespace KBroker.Compat.Interchange.Tests;

/// <summary>Apache Kafka and KBroker in turn on the same directories.</summary>
public sealed class WalkTests
{
    [Fact]
    public async Task KBroker_shows_what_Kafka_wrote()
    {
        SkipWithoutBrokers();
        await using var journey = Journey.Begin();
        await journey.StartKafkaAsync();
        await journey.WorkAsync(async commands =>
        {
            var fill = new Fill(commands, journey.Batches, "first");
            await fill.EverythingAsync();
            await fill.CompactedAsync();
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
