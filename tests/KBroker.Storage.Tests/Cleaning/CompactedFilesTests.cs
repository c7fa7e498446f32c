using System.Globalization;
using KBroker.Protocol.Records;

namespace KBroker.Storage.Tests.Cleaning;

/// <summary>Apache Kafka's dump tool reads what compaction wrote; skipped without a Kafka and a Java.</summary>
public sealed class CompactedFilesTests
{
    [Fact]
    public void Kafka_reads_compacted_segments_and_their_indexes_without_complaint()
    {
        var tool = KafkaDumpLogTests.FindTool();
        Assert.SkipWhen(tool is null, "No Apache Kafka: set KAFKA_HOME, or put one at ../shared/peers/kafka.");
        using var storage = new TestStorage(
            CleaningSample.Compacted with { SegmentBytes = 20_000, IndexIntervalBytes = 500 });
        Fill(storage, new Random(4));
        storage.Compact();
        storage.Clock.Advance(2000);
        Fill(storage, new Random(5));
        storage.Compact();
        var records = storage.ReadBatches().Sum(static b => b.Records.Count);
        storage.CloseCleanly();
        var files = Directory.GetFiles(storage.LogPath)
            .Where(static f => Path.GetExtension(f) is ".log" or ".index" or ".timeindex" or ".txnindex" or ".snapshot")
            .Order().ToArray();
        Assert.Contains(files, static f => f.EndsWith(".txnindex", StringComparison.Ordinal));
        Assert.True(files.Count(static f => f.EndsWith(".log", StringComparison.Ordinal)) > 2);
        var output = KafkaDumpLogTests.Run(
            tool!, "--deep-iteration", "--print-data-log", "--files", string.Join(',', files));
        Assert.Equal(records, KafkaDumpLogTests.Lines(output, "| offset:"));
        Assert.DoesNotContain("isvalid: false", output);
        foreach (var complaint in new[] { "ismatch", "Exception", "nvalid", "orrupt", "ound timestamp",
            "out of order", "not found" })
            Assert.DoesNotContain(complaint, output.Replace("isvalid", "", StringComparison.Ordinal));
        foreach (var codec in Enum.GetNames<CompressionType>())
            Assert.Contains($"compresscodec: {codec.ToLowerInvariant()}", output.ToLowerInvariant());
        Assert.Contains("deleteHorizonMs: OptionalLong[", output);
        var indexes = files.Where(static f => Path.GetExtension(f) is ".index" or ".timeindex").ToArray();
        var sanity = KafkaDumpLogTests.Run(tool!, "--index-sanity-check", "--files", string.Join(',', indexes));
        Assert.All(indexes, index => Assert.True(
            sanity.Contains($"{index} passed sanity check", StringComparison.Ordinal)
                || (new FileInfo(index).Length == 0 && sanity.Contains($"{index} is empty", StringComparison.Ordinal)),
            sanity));
    }

    /// <summary>Every codec, tombstones, idempotent producers, transactions of both ends.</summary>
    private static void Fill(TestStorage storage, Random random)
    {
        for (var i = 0; i < 400; i++)
        {
            var records = new (string? Key, string? Value)[random.Next(1, 12)];
            for (var r = 0; r < records.Length; r++)
            {
                var key = random.Next(300).ToString(CultureInfo.InvariantCulture);
                records[r] = (key, random.Next(10) == 0 ? null : new string((char)('a' + (i % 26)), random.Next(100)));
            }

            var options = new RecordBatchOptions { Compression = (CompressionType)(i % 5) };
            if (i % 4 == 0)
            {
                var id = storage.Log.LogEndOffset + 1000;
                storage.Put(options with
                {
                    ProducerId = id,
                    ProducerEpoch = 0,
                    BaseSequence = 0,
                    IsTransactional = i % 8 == 0,
                }, records);
                if (i % 8 == 0)
                    storage.PutMarker(id, i % 16 == 0 ? ControlRecordType.Abort : ControlRecordType.Commit);
            }
            else
            {
                storage.Put(options, records);
            }

            storage.Clock.Advance(3);
        }
    }
}
