using System.Globalization;
using System.Text.RegularExpressions;
using Confluent.Kafka;
using Confluent.Kafka.Admin;
using KBroker.Client;
using KBroker.Compat.Harness;

namespace KBroker.Compat.Confluent.Tests.Delays;

/// <summary><c>kbroker delayed list</c> and <c>cancel</c>, the real executable against a real broker.</summary>
public sealed partial class DelayedCommandTests(ConfluentFixture fixture) : DelayTest(fixture)
{
    private static readonly TimeSpan Hour = TimeSpan.FromHours(1);

    [Fact]
    public async Task Pending_records_are_listed_soonest_first_over_all_partitions_and_cancelled_ones_are_not()
    {
        var topic = await DelayingTopicAsync(3);
        using var producer = Producer();
        var records = new List<DelayedRecord>();
        foreach (var (partition, hours) in ((int, int)[])[(0, 3), (2, 1), (0, 4), (1, 2), (2, 5)])
        {
            records.Add(await producer.ProduceDelayedAsync(
                new TopicPartition(topic, partition), Message("v"), Hour * hours));
        }

        records = [.. records.OrderBy(static r => r.Due)];
        Assert.Equal(records.Select(static r => (r.Partition.Value, r.Offset.Value, r.Due!.Value)), Listed(
            await ListAsync(topic)));

        var (code, output) = await DelayedAsync("list", "--topic", topic, "--limit", "2");
        Assert.Equal(0, code);
        var lines = output.TrimEnd().Split('\n');
        Assert.Equal(4, lines.Length);
        Assert.Matches(@"^TOPIC +PARTITION +OFFSET +STORED AT +DUE$", lines[0]);
        Assert.Matches($@"^{topic} +2 +0 +\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}[+-]\d\d:\d\d  in (59m|1h)( \d+s)?$", lines[1]);
        Assert.Matches($@"^{topic} +1 +0 .* in (1h 59m|2h)$", lines[2]);
        Assert.Matches($@"^{topic}: 5 pending, next due \S+ \(in (59m|1h)( \d+s)?\); 2 listed \(--limit\)$", lines[3]);

        (code, output) = await DelayedAsync("cancel", "--topic", topic, "--partition", "0", "--offset", "1", "0");
        Assert.True(code == 0, output);
        Assert.Matches($@"^{topic}-0 offset 0: cancelled, by the record at offset 2; it would be due \S+ \(in .*\)\.", output);
        Assert.Contains($"{topic}-0 offset 1: cancelled, by the record at offset 3;", output);
        Assert.Equal([(2, 0), (1, 0), (2, 1)], Listed(await ListAsync(topic))
            .Select(static r => (r.Partition, (int)r.Offset)));
        Assert.Equal([(1, 0)], Listed(await ListAsync(topic, "--partition", "1"))
            .Select(static r => (r.Partition, (int)r.Offset)));
    }

    [Fact]
    public async Task More_than_a_page_is_listed()
    {
        var topic = await DelayingTopicAsync(2);
        using var producer = Producer();
        for (var i = 0; i < 2_500; i++)
        {
            var message = Message("v");
            message.Headers = new Headers().SetDelay(Hour + TimeSpan.FromMinutes((i * 7919) % 2_500));
            producer.Produce(new TopicPartition(topic, i % 2), message);
        }

        Assert.Equal(0, producer.Flush(Limit));
        var listed = Listed(await ListAsync(topic, "--limit", "10000"));
        Assert.Equal(2_500, listed.Distinct().Count());
        Assert.Equal(listed.Select(static r => r.Due).Order(), listed.Select(static r => r.Due));
    }

    [Fact]
    public async Task What_is_not_pending_cannot_be_cancelled()
    {
        var topic = await DelayingTopicAsync();
        using var producer = Producer();
        await producer.ProduceAsync(topic, Message("plain"));
        await producer.ProduceDelayedAsync(topic, Message("later"), Hour);
        await producer.ProduceDelayedAsync(topic, Message("soon"), TimeSpan.FromMilliseconds(50));
        Assert.Equal("soon", Text(Fetch(topic, 2)[1].Message.Value));
        var (code, output) = await DelayedAsync(
            "cancel", "--topic", topic, "--partition", "0", "--offset", "0", "1", "2", "99");
        Assert.Equal(1, code);
        foreach (var offset in (int[])[0, 2, 99])
            Assert.Contains($"{topic}-0 offset {offset}: not pending.", output);
        Assert.Contains($"{topic}-0 offset 1: cancelled, by the record at offset", output);
        (code, output) = await DelayedAsync("cancel", "--topic", topic, "--partition", "0", "--offset", "1");
        Assert.Equal(1, code);
        Assert.Contains($"{topic}-0 offset 1: not pending.", output);
    }

    [Fact]
    public async Task A_record_that_was_carried_forward_is_listed_where_it_lies_and_cancelled_by_its_first_offset()
    {
        var topic = await DelayingTopicAsync();
        using var producer = Producer();
        var record = await producer.ProduceDelayedAsync(topic, Message("kept"), Hour);
        await producer.ProduceAsync(topic, Message("plain"));
        await Fixture.Admin.DeleteRecordsAsync([new TopicPartitionOffset(topic, 0, Offset.End)]);
        using var json = await ListAsync(topic);
        var listed = json.RootElement.GetProperty("topics")[0].GetProperty("records")[0];
        Assert.Equal((record.Offset.Value, 2L), (
            listed.GetProperty("offset").GetInt64(), listed.GetProperty("storedOffset").GetInt64()));
        var (code, output) = await DelayedAsync("cancel", "--topic", topic, "--partition", "0", "--offset", "0");
        Assert.True(code == 0, output);
        Assert.Empty(Listed(await ListAsync(topic)));
    }

    /// <summary>Records fall due all the time while the command works: what it says must be what the log says.</summary>
    [Fact]
    public async Task Where_a_cancel_races_with_deliveries_the_log_decides_and_the_command_says_how()
    {
        const int Count = 1000;
        var topic = await DelayingTopicAsync();
        var offsets = new List<long>();
        using (var producer = Producer())
        {
            var start = DateTimeOffset.UtcNow.AddSeconds(1.5);
            for (var i = 0; i < Count; i++)
            {
                var message = Message($"{i}");
                message.Headers = new Headers().SetDeliverAt(start.AddMilliseconds(4 * i));
                producer.Produce(new TopicPartition(topic, 0), message, report => offsets.Add(report.Offset));
            }

            Assert.Equal(0, producer.Flush(Limit));
        }

        // It has begun, and goes on for four seconds.
        Assert.Single(Fetch(topic, 1));
        var (code, output) = await DelayedAsync(
            ["cancel", "--topic", topic, "--partition", "0", "--offset",
                .. offsets.Select(static o => o.ToString(CultureInfo.InvariantCulture))]);
        var said = Fate().Matches(output).ToDictionary(
            static m => long.Parse(m.Groups["offset"].Value, CultureInfo.InvariantCulture), static m => m);
        Assert.Equal(Count, said.Count);
        var cancelled = said.Where(static s => s.Value.Groups["fate"].Value == "cancelled").Select(static s => s.Key)
            .ToHashSet();
        Assert.Equal(cancelled.Count == Count ? 0 : 1, code);
        var delivered = Fetch(topic, Count - cancelled.Count)
            .ToDictionary(static r => Origin(r), static r => r.Offset.Value);
        Assert.Empty(cancelled.Intersect(delivered.Keys));
        foreach (var (offset, match) in said)
        {
            if (match.Groups["at"] is { Success: true, Value: var at })
                Assert.Equal(delivered[offset], long.Parse(at, CultureInfo.InvariantCulture));
        }
    }

    [Fact]
    public async Task Complaints_name_the_value_and_what_to_do()
    {
        SkipOnKafka();
        var plain = await Fixture.CreateTopicAsync();
        await FailsAsync(
            1, $"Topic {plain} allows no delays (kbroker.delay.enable is false), and none is pending.",
            "list", "--topic", plain);
        await FailsAsync(1, "There is no topic no-such-topic.", "list", "--topic", "no-such-topic");
        await FailsAsync(
            1, $"Topic {plain} has partitions 0 to 0, not 7.",
            "cancel", "--topic", plain, "--partition", "7", "--offset", "0");
        await FailsAsync(2, "--partition needs one --topic.", "list", "--partition", "0");
        await FailsAsync(2, "--offset is -1", "cancel", "--topic", plain, "--partition", "0", "--offset", "-1");
        var (free, _) = BrokerSite.FreePorts();
        var (code, output) = await KBrokerAsync("delayed", "list", "--bootstrap-server", $"127.0.0.1:{free}");
        Assert.Equal(1, code);
        Assert.Contains($"127.0.0.1:{free} cannot be reached: Connection refused. --bootstrap-server names", output);
        (code, output) = await KBrokerAsync("delayed", "list", "--bootstrap-server", "here");
        Assert.Equal(2, code);
        Assert.Contains("--bootstrap-server takes HOST:PORT, not 'here'.", output);
    }

    [Fact]
    public async Task Where_delays_are_switched_off_nothing_is_cancelled_by_a_record_that_all_would_see()
    {
        var topic = await DelayingTopicAsync();
        using var producer = Producer();
        await producer.ProduceDelayedAsync(topic, Message("later"), Hour);
        await SetDelaysAsync(topic, "false");
        await FailsAsync(
            1, $"Topic {topic} allows no delays at present",
            "cancel", "--topic", topic, "--partition", "0", "--offset", "0");
        var (_, output) = await DelayedAsync("list", "--topic", topic);
        Assert.Contains("; new delays are switched off (kbroker.delay.enable)", output);
        await SetDelaysAsync(topic, "true");
        var (code, _) = await DelayedAsync("cancel", "--topic", topic, "--partition", "0", "--offset", "0");
        Assert.Equal(0, code);
    }

    /// <summary>With <c>run --target kafka</c> alone.</summary>
    [Fact]
    public async Task Apache_Kafka_is_told_from_KBroker()
    {
        Assert.SkipUnless(CompatEnvironment.TargetIsKafka, "for Apache Kafka");
        await FailsAsync(1, "closed the connection on ListPendingRecords (API key 20000): it is not a KBroker", "list");
    }

    [GeneratedRegex(@"-0 offset (?<offset>\d+): (?<fate>not pending|cancelled|delivered, at offset (?<at>\d+))")]
    private static partial Regex Fate();

    /// <summary>The offset that the producer was told: its own, of a record that was due when it came.</summary>
    private static long Origin(ConsumeResult<byte[]?, byte[]?> record) =>
        record.Message.Headers.TryGetOrigin(out var origin) ? origin.Offset : record.Offset;

    private async Task FailsAsync(int expected, string complaint, params string[] arguments)
    {
        var (code, output) = await DelayedAsync(arguments);
        Assert.Equal(expected, code);
        Assert.Contains(complaint, output);
    }

    private Task SetDelaysAsync(string topic, string value) => Fixture.Admin.IncrementalAlterConfigsAsync(
        new Dictionary<ConfigResource, List<ConfigEntry>>
        {
            [new ConfigResource { Type = ResourceType.Topic, Name = topic }] =
            [
                new ConfigEntry
                {
                    Name = "kbroker.delay.enable",
                    Value = value,
                    IncrementalOperation = AlterConfigOpType.Set,
                },
            ],
        });
}
