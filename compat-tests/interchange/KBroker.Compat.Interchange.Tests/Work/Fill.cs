using KBroker.Compat.Harness;
using KBroker.Protocol.Records;

namespace KBroker.Compat.Interchange.Tests.Work;

/// <summary>
/// Fills a broker with one of everything that files can hold. What only a broker with coordinators can do is left out
/// elsewhere. Each stop of a walk fills again, under names of its own.
/// </summary>
internal sealed class Fill(Commands commands, Batches batches, string stop)
{
    /// <summary>Segments roll by the records' timestamps, so a few records make several files.</summary>
    private static readonly (string, string) ManySegments = ("segment.ms", "60000");

    public async Task EverythingAsync()
    {
        await CodecsAsync();
        await ManyPartitionsAsync();
        await AppendTimeAsync();
        await ConfiguredAsync();
        await TrimmedAsync();
        await DeletedAsync();
        await GrownAsync();
        await commands.CreateAsync($"{stop}-empty", 2);
        await commands.CreateAsync($"{stop}." + new string('n', 248 - stop.Length));
    }

    /// <summary>A partition a codec, several segments each.</summary>
    public async Task CodecsAsync()
    {
        var topic = await commands.CreateAsync($"{stop}-codecs", Batches.Codecs.Count, ManySegments);
        foreach (var codec in Batches.Codecs)
            for (var i = 0; i < 6; i++)
                await commands.ProduceAsync(
                    topic, (int)codec, batches.Mixed(codec, 1 + (i * 17), Batches.Epoch + (i * 45_000)));
        Assert.True((await commands.RangeAsync(topic, 4)).End > 100);
    }

    public async Task ManyPartitionsAsync()
    {
        var topic = await commands.CreateAsync($"{stop}-many", 12);
        for (var partition = 0; partition < 11; partition++)
            await commands.ProduceAsync(
                topic, partition, batches.Of(Batches.Epoch + partition, ($"p{partition}", "one"), (null, "two")));
    }

    public async Task AppendTimeAsync()
    {
        var topic = await commands.CreateAsync(
            $"{stop}-append-time", 1, ("message.timestamp.type", "LogAppendTime"), ("compression.type", "gzip"));
        foreach (var codec in Batches.Codecs)
            await commands.ProduceAsync(topic, 0, batches.Mixed(codec, 5, Batches.Epoch));
    }

    public async Task ConfiguredAsync()
    {
        var topic = await commands.CreateAsync(
            $"{stop}-configured", 1, ("retention.ms", "-1"), ("retention.bytes", "123456789"),
            ("compression.type", "zstd"), ("cleanup.policy", "compact,delete"), ("min.insync.replicas", "1"),
            ("segment.index.bytes", "200000"), ("index.interval.bytes", "512"), ("max.message.bytes", "2000000"),
            ("delete.retention.ms", "777"));
        await commands.ProduceAsync(topic, 0, batches.Of(Batches.Epoch, ("k", "v")));
        await commands.ConfigureAsync(
            2, topic.Name, ("retention.ms", "987654321000"), ("delete.retention.ms", null),
            ("file.delete.delay.ms", "1000"));
    }

    /// <summary>DeleteRecords within a segment, at the start of one, and up to the end.</summary>
    public async Task TrimmedAsync()
    {
        var topic = await commands.CreateAsync($"{stop}-trimmed", 3, ManySegments);
        for (var partition = 0; partition < 3; partition++)
            for (var i = 0; i < 4; i++)
                await commands.ProduceAsync(topic, partition, batches.Mixed(
                    CompressionType.Lz4, 10, Batches.Epoch + (i * 100_000)));
        await commands.DeleteRecordsAsync(topic, 0, 13);
        await commands.DeleteRecordsAsync(topic, 1, 20);
        await commands.DeleteRecordsAsync(topic, 2, 40);
    }

    /// <summary>One topic is deleted, another deleted and created again.</summary>
    public async Task DeletedAsync()
    {
        foreach (var name in (string[])[$"{stop}-deleted", $"{stop}-recreated"])
        {
            var topic = await commands.CreateAsync(name, 2);
            await commands.ProduceAsync(topic, 1, batches.Of(Batches.Epoch, ("old", "old")));
            await commands.DeleteAsync(topic);
        }

        var again = await commands.CreateAsync($"{stop}-recreated", 3);
        await commands.ProduceAsync(again, 2, batches.Of(Batches.Epoch, ("new", "new")));
    }

    public async Task GrownAsync()
    {
        var topic = await commands.CreateAsync($"{stop}-grown", 2);
        await commands.ProduceAsync(topic, 0, batches.Of(Batches.Epoch, ("a", "b")));
        await commands.GrowAsync(topic, 5);
        await commands.ProduceAsync(topic, 4, batches.Of(Batches.Epoch, ("c", "d")));
    }

    /// <summary>
    /// A compacted topic, after a cleaner has done all it can: of the closed segments the last record of each key stays
    /// (tombstones too, for a day), of the active one all of them.
    /// </summary>
    public async Task CompactedAsync()
    {
        var topic = await commands.CreateAsync(
            $"{stop}-compacted", 1, ("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.01"),
            ("delete.retention.ms", "86400000"), ManySegments);
        for (var i = 0; i < 12; i++)
            await commands.ProduceAsync(topic, 0, batches.Of(
                new RecordBatchOptions { Compression = Batches.Codecs[i % 5] }, Batches.Epoch + (i * 100_000),
                ("same", $"{i}"), ($"own-{i}", $"{i}"), ("gone", i == 11 ? null : "x"), ($"dead-{i / 4}", null)));
        await Poll.UntilAsync("the topic is compacted", async () =>
            await KeptAsync(topic) == 20, TimeSpan.FromSeconds(120));
    }

    private async Task<int> KeptAsync(Topic topic)
    {
        var portrait = await Portraits.Painter.PaintRecordsAsync(commands.Client, topic, 0);
        return portrait.Of(Portraits.Section.Records).Keys.Count(k => k.Contains(" record ", StringComparison.Ordinal));
    }
}
