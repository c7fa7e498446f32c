using System.Buffers;
using System.Text;
using KBroker.Protocol.Records;

namespace KBroker.Storage.Tests.Cleaning;

/// <summary>What a reader sees of a record.</summary>
internal readonly record struct SeenRecord(long Offset, string? Key, string? Value, long Timestamp);

/// <summary>Writes and reads keyed records of a <see cref="TestStorage"/>, and compacts it.</summary>
internal static class CleaningSample
{
    /// <summary>Configs with which every finished segment is compacted whenever it is asked for.</summary>
    public static readonly LogConfig Compacted = new()
    {
        CleanupPolicy = CleanupPolicy.Compact,
        SegmentBytes = 1 << 20,
        IndexIntervalBytes = 100,
        MinCleanableDirtyRatio = 0,
        DeleteRetentionMs = 1000,
        FileDeleteDelayMs = 0,
        MessageTimestampAfterMaxMs = long.MaxValue,
    };

    public static byte[] Batch(
        RecordBatchOptions options, long timestamp, params ReadOnlySpan<(string? Key, string? Value)> records)
    {
        using var builder = new RecordBatchBuilder(options, TestStorage.Codecs);
        foreach (var (key, value) in records)
            builder.Append(timestamp++, Bytes(key), Bytes(value));
        return builder.Build().ToArray();
    }

    public static long Put(this TestStorage storage, params ReadOnlySpan<(string? Key, string? Value)> records) =>
        storage.Put(RecordBatchOptions.Default, records);

    public static long Put(
        this TestStorage storage,
        RecordBatchOptions options,
        params ReadOnlySpan<(string? Key, string? Value)> records) =>
        storage.AppendOk(Batch(options, storage.Clock.NowMs, records)).FirstOffset;

    public static long PutMarker(this TestStorage storage, long producerId, ControlRecordType type, short epoch = 0)
    {
        using var builder = new RecordBatchBuilder(new RecordBatchOptions
        {
            IsControl = true,
            IsTransactional = true,
            ProducerId = producerId,
            ProducerEpoch = epoch,
        });
        builder.Append(storage.Clock.NowMs, ControlRecord.Key(type), ControlRecord.EndTransactionValue(0));
        var result = storage.Log.AppendAsLeader(new(builder.Build()), 0, AppendOptions.Coordinator);
        Assert.True(result.IsSuccess, result.ErrorMessage);
        return result.FirstOffset;
    }

    /// <summary>Rolls, and compacts until nothing is left to do.</summary>
    public static void Compact(this TestStorage storage)
    {
        storage.Log.RollSegment();
        var passes = 0;
        while (storage.Manager.Cleaner.CleanNext(CancellationToken.None))
            Assert.True(++passes < 100_000, "the cleaner does not come to an end");
    }

    /// <summary>All batches from the start, with what is in them.</summary>
    public static List<(RecordBatchHeader Header, List<SeenRecord> Records)> ReadBatches(
        this TestStorage storage, int maxBytes = 1 << 20) => storage.Log.ReadBatches(maxBytes);

    /// <summary>All batches from the start, with what is in them.</summary>
    public static List<(RecordBatchHeader Header, List<SeenRecord> Records)> ReadBatches(
        this PartitionLog log, int maxBytes = 1 << 20)
    {
        var all = new List<(RecordBatchHeader, List<SeenRecord>)>();
        var next = log.LogStartOffset;
        while (next < log.LogEndOffset)
        {
            var result = log.Read(next, maxBytes, long.MaxValue, minOneMessage: true);
            using var records = result.Records;
            if (records.IsEmpty)
                break;
            var rest = new ReadOnlySequence<byte>(records.ToArray());
            while (RecordBatches.Inspect(rest, out var header) == RecordBatchStatus.Whole)
            {
                var batch = rest.Slice(0, header.SizeInBytes);
                Assert.True(RecordBatches.HasValidCrc(batch));
                Assert.True(header.LastOffset >= next, "a batch came twice");
                all.Add((header, [.. Records(batch).Where(r => r.Offset >= log.LogStartOffset)]));
                next = header.NextOffset;
                rest = rest.Slice(header.SizeInBytes);
            }
        }

        return all;
    }

    /// <summary>The records of data, in order; those of aborted transactions too when they are still there.</summary>
    public static List<SeenRecord> ReadAll(this TestStorage storage) =>
        storage.Log.ReadAll();

    /// <summary>The records of data, in order.</summary>
    public static List<SeenRecord> ReadAll(this PartitionLog log) =>
        [.. log.ReadBatches().Where(static b => !b.Header.IsControl).SelectMany(static b => b.Records)];

    /// <summary>The newest value of each key, as a consumer that reads everything has it at the end.</summary>
    public static SortedDictionary<string, string> ReadTable(this TestStorage storage) => storage.Log.ReadTable();

    /// <summary>The newest value of each key, as a consumer that reads everything has it at the end.</summary>
    public static SortedDictionary<string, string> ReadTable(this PartitionLog log)
    {
        var table = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (var record in log.ReadAll())
        {
            if (record.Value is null)
                table.Remove(record.Key!);
            else
                table[record.Key!] = record.Value;
        }

        return table;
    }

    public static string[] FileNames(this TestStorage storage, string suffix) =>
        [.. Directory.GetFiles(storage.LogPath, "*" + suffix).Select(f => Path.GetFileName(f)!).Order()];

    private static IEnumerable<SeenRecord> Records(ReadOnlySequence<byte> batch)
    {
        using var reader = new RecordBatchReader(batch, TestStorage.Codecs, int.MaxValue);
        while (reader.TryRead(out var record))
            yield return new SeenRecord(record.Offset, Text(record.Key), Text(record.Value), record.Timestamp);
    }

    private static ReadOnlyMemory<byte>? Bytes(string? text) =>
        text is null ? null : (ReadOnlyMemory<byte>?)Encoding.UTF8.GetBytes(text);

    private static string? Text(ReadOnlyMemory<byte>? bytes) =>
        bytes is { } some ? Encoding.UTF8.GetString(some.Span) : null;
}
