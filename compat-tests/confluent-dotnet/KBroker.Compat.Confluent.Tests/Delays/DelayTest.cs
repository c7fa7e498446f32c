using System.Text.Json;
using KBroker.Compat.Harness;

namespace KBroker.Compat.Confluent.Tests.Delays;

/// <summary>Topics that delay, and what <c>kbroker delayed</c> says of them.</summary>
public abstract class DelayTest(ConfluentFixture fixture) : ConfluentTest(fixture)
{
    private protected static void SkipOnKafka() =>
        Assert.SkipWhen(CompatEnvironment.TargetIsKafka, "Apache Kafka delays nothing");

    private protected Task<string> DelayingTopicAsync(int partitions = 1)
    {
        SkipOnKafka();
        return Fixture.CreateTopicAsync(
            partitions, ("kbroker.delay.enable", "true"), ("kbroker.delay.levels", "3s 2h"));
    }

    /// <summary>Runs <c>kbroker delayed</c> against the broker.</summary>
    private protected Task<(int ExitCode, string Output)> DelayedAsync(params string[] arguments) =>
        KBrokerAsync(["delayed", arguments[0], "--bootstrap-server", Fixture.Broker.Bootstrap, .. arguments[1..]]);

    /// <summary>The list of a topic as JSON.</summary>
    private protected async Task<JsonDocument> ListAsync(string topic, params string[] more)
    {
        var (code, output) = await DelayedAsync(["list", "--topic", topic, "--json", .. more]);
        Assert.True(code == 0, output);
        return JsonDocument.Parse(output);
    }

    /// <summary>The records in that list; as many as are pending.</summary>
    private protected static List<(int Partition, long Offset, DateTimeOffset Due)> Listed(JsonDocument list)
    {
        var topic = Assert.Single(list.RootElement.GetProperty("topics").EnumerateArray());
        Assert.True(topic.GetProperty("delaysEnabled").GetBoolean());
        var records = topic.GetProperty("records").EnumerateArray().Select(static r =>
        {
            var due = r.GetProperty("due").GetDateTimeOffset();
            Assert.Equal(r.GetProperty("dueMs").GetInt64(), due.ToUnixTimeMilliseconds());
            return (r.GetProperty("partition").GetInt32(), r.GetProperty("offset").GetInt64(), due);
        }).ToList();
        Assert.Equal(topic.GetProperty("pending").GetInt64(), records.Count);
        return records;
    }
}
