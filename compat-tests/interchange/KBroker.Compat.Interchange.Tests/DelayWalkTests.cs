using System.Buffers;
using System.Text;
using KBroker.Compat.Harness;
using KBroker.Compat.Interchange.Tests.Wire;
using KBroker.Compat.Interchange.Tests.Work;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;

namespace KBroker.Compat.Interchange.Tests;

/// <summary>
/// A log with delayed records of KBroker's under Apache Kafka, which takes them for ordinary ones, ends their
/// transactions and appends behind them; then under KBroker again.
/// </summary>
public sealed class DelayWalkTests
{
    private const string Name = "later";
    private const int FetchBytes = 1 << 20;
    private const string DeliverAt = "kbroker-deliver-at";
    private const long SoonMs = 20_000;
    private const long HourMs = 3_600_000;
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(90);

    [Fact]
    public async Task What_is_pending_when_Kafka_takes_over_is_delivered_once_when_KBroker_is_back()
    {
        Assert.SkipWhen(CompatEnvironment.KafkaHome is null, "no Apache Kafka here (--kafka-home DIR or KAFKA_HOME)");
        Assert.SkipWhen(CompatEnvironment.WhyNoBroker is not null, CompatEnvironment.WhyNoBroker ?? "");
        Assert.SkipWhen(CompatEnvironment.TargetIsKafka, "Apache Kafka delays nothing");
        await using var journey = Journey.Begin();
        var (held, dropped) = (new Producer("held", journey.Batches), new Producer("dropped", journey.Batches));

        await journey.StartKBrokerAsync();
        await WithAsync(journey, async commands =>
        {
            var topic = await commands.CreateAsync(
                Name, 1, ("kbroker.delay.enable", "true"), ("segment.bytes", "1048576"));
            await DelayAsync(commands, topic, journey.Batches);
            await SendAsync(held, commands, topic, "held");
            await SendAsync(dropped, commands, topic, "dropped");
            await UntilVisibleAsync(commands, topic, "none 2");
            Assert.DoesNotContain((await ReadAsync(commands, topic)), static v => v is "gzip 2" or "zstd 2" or "held");
        });
        await journey.StopAsync();

        await journey.StartKafkaAsync();
        Assert.Empty(KafkaLog.Complaints(journey.Broker.Log));
        Assert.True(KafkaLog.SkippedRecovery(journey.Broker.Log, journey.Site.LogDirs.Count));
        await WithAsync(journey, async commands =>
        {
            var topic = await commands.FindAsync(Name);
            var all = await ReadAsync(commands, topic);
            foreach (var hidden in (string[])["none 2", "gzip 2", "snappy 2", "lz4 2", "zstd 2", "held", "dropped"])
                Assert.Contains(hidden, all);
            await held.EndAsync(commands, commit: true);
            await dropped.EndAsync(commands, commit: false);
            await commands.ProduceAsync(topic, 0, journey.Batches.WithHeaders(
                RecordBatchOptions.Default,
                NowMs,
                ("of Kafka", null),
                ("not delayed", (DeliverAt, $"{NowMs + HourMs}"))));
        });
        await journey.StopAsync();
        var dump = await new DumpTool(journey.Site).ReadAsync(Name);
        Assert.Contains("headerKeys: [kbroker-deliver-at]", dump);
        Assert.Contains("endTxnMarker: COMMIT", dump);

        await journey.StartKBrokerAsync();
        await WithAsync(journey, async commands =>
        {
            var topic = await commands.FindAsync(Name);
            await UntilVisibleAsync(commands, topic, "snappy 2", "lz4 2", "held");
            AssertInTheEnd(await ReadAsync(commands, topic));
        });
        await journey.KillAsync();
        await journey.StartKBrokerAsync();
        await WithAsync(journey, async commands =>
            AssertInTheEnd(await ReadAsync(commands, await commands.FindAsync(Name))));
        await journey.StopAsync();
    }

    private static long NowMs => TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();

    /// <summary>Everything once but what was cancelled, aborted, or is due in an hour.</summary>
    private static void AssertInTheEnd(List<string> visible)
    {
        var expected = Batches.Codecs.SelectMany(static c => Enumerable.Range(0, 5).Select(i => $"{Text(c)} {i}"))
            .Except(["gzip 2", "zstd 2"])
            .Concat(["held", "of Kafka", "not delayed"]);
        Assert.Equal(expected.Order(StringComparer.Ordinal), visible.Order(StringComparer.Ordinal));
    }

    /// <summary>A batch of five in each codec, number three delayed.</summary>
    private static async Task DelayAsync(Commands commands, Topic topic, Batches batches)
    {
        foreach (var codec in Batches.Codecs)
        {
            var due = NowMs + codec switch
            {
                CompressionType.None => 100,
                CompressionType.Gzip or CompressionType.Zstd => HourMs,
                _ => SoonMs,
            };
            var records = Enumerable.Range(0, 5).Select(i =>
                ($"{Text(codec)} {i}", i == 2 ? (DeliverAt, $"{due}") : ((string, string)?)null)).ToArray();
            var first = await commands.ProduceAsync(
                topic, 0, batches.WithHeaders(new RecordBatchOptions { Compression = codec }, NowMs, records));
            if (codec == CompressionType.Gzip)
            {
                await commands.ProduceAsync(topic, 0, batches.WithHeaders(
                    RecordBatchOptions.Default, NowMs, ("cancel", ("kbroker-cancel", $"{first + 2}"))));
            }
        }
    }

    /// <summary>A delayed record in a transaction that stays open.</summary>
    private static async Task SendAsync(Producer producer, Commands commands, Topic topic, string value)
    {
        await producer.InitAsync(commands);
        await producer.SendAsync(
            commands, topic, 0, CompressionType.None, 1,
            (options, timestamp) =>
            {
                using var batches = new Batches(seed: 1);
                return batches.WithHeaders(options, timestamp, (value, (DeliverAt, $"{timestamp + 100}")));
            });
    }

    private static string Text(CompressionType codec) => codec.ToString().ToLowerInvariant();

    private static async Task WithAsync(Journey journey, Func<Commands, Task> work)
    {
        await using var client = await WireClient.ConnectAsync(journey.Site.Port);
        await work(new Commands(client));
    }

    private static Task UntilVisibleAsync(Commands commands, Topic topic, params string[] values) =>
        Poll.UntilAsync(
            $"{string.Join(", ", values)} can be read",
            async () => values.All((await ReadAsync(commands, topic)).Contains),
            Limit);

    /// <summary>The values of all records that a consumer with read_uncommitted gets.</summary>
    private static async Task<List<string>> ReadAsync(Commands commands, Topic topic)
    {
        var values = new List<string>();
        var (next, end) = await commands.RangeAsync(topic);
        using var codecs = new CompressionCodecs();
        while (next < end)
        {
            var answer = await commands.Client.SendAsync<FetchResponse>(new FetchRequest
            {
                MaxWaitMs = 100,
                MinBytes = 1,
                MaxBytes = FetchBytes,
                Topics =
                [
                    new()
                    {
                        Topic = topic.Name,
                        TopicId = topic.Id,
                        Partitions = [new() { FetchOffset = next, PartitionMaxBytes = FetchBytes }],
                    },
                ],
            });
            var data = answer.Responses.Single().Partitions.Single();
            Assert.Equal(ErrorCode.None, data.ErrorCode);
            var before = next;
            next = Take((data.Records ?? Records.Empty).ToArray(), next, codecs, values);
            Assert.True(next > before, $"nothing is read at {before}, the end is {end}");
        }

        return values;
    }

    private static long Take(byte[] bytes, long next, CompressionCodecs codecs, List<string> values)
    {
        var rest = new ReadOnlySequence<byte>(bytes);
        while (RecordBatches.Inspect(rest, out var header) == RecordBatchStatus.Whole)
        {
            var batch = rest.Slice(0, header.SizeInBytes);
            RecordBatches.EnsureValidCrc(batch);
            using var reader = new RecordBatchReader(batch, codecs, 1 << 24);
            while (!header.IsControl && reader.TryRead(out var record))
            {
                if (record.Offset >= next)
                    values.Add(Encoding.UTF8.GetString(record.Value.GetValueOrDefault().Span));
            }

            next = Math.Max(next, header.NextOffset);
            rest = rest.Slice(header.SizeInBytes);
        }

        return next;
    }
}
