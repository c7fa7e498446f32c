using KBroker.Protocol.Records;
using KBroker.Storage.Files;

namespace KBroker.Storage.Tests.Cleaning;

/// <summary>A compaction that ends at each of its file operations in turn, by a kill or a power cut.</summary>
public sealed class CompactionCrashTests
{
    [Theory]
    [InlineData(CrashKind.Kill)]
    [InlineData(CrashKind.PowerCut)]
    [InlineData(CrashKind.PowerCutOutOfOrder)]
    public void A_crash_after_any_file_operation_loses_no_key_and_brings_none_back(CrashKind kind)
    {
        var operations = Count();
        Assert.InRange(operations, 30, 1000);
        for (var i = 0; i < operations; i++)
            CrashAt(i, kind);
    }

    public enum CrashKind
    {
        Kill,
        PowerCut,
        PowerCutOutOfOrder,
    }

    private static int Count()
    {
        var count = 0;
        using var storage = Prepare(out var files);
        files.Fault = (_, _) =>
        {
            count++;
            return null;
        };
        CompactAgain(storage);
        files.Fault = null;
        Check(storage);
        return count;
    }

    private static void CrashAt(int operation, CrashKind kind)
    {
        using var storage = Prepare(out var files);
        var left = operation;
        var failed = default(string);
        files.Fault = (what, path) =>
        {
            if (left-- > 0)
                return null;
            failed ??= $"{what} {Path.GetFileName(path)} (operation {operation}, {kind})";
            return new IOException("the machine is off");
        };
        CompactAgain(storage);
        storage.Crash();
        files.Fault = null;
        if (kind != CrashKind.Kill)
        {
            var isOutOfOrder = kind == CrashKind.PowerCutOutOfOrder;
            files.CutPower(isOutOfOrder ? new Random(operation) : null, isOutOfOrder);
        }

        try
        {
            storage.Reopen();
            Check(storage);
            // It is done again, to the same end.
            storage.Compact();
            Check(storage);
            Assert.Empty(storage.FileNames(".cleaned").Concat(storage.FileNames(".swap")));
            storage.CloseCleanly();
            storage.Reopen();
            Check(storage);
        }
        catch (Exception exception)
        {
            throw new InvalidOperationException($"After a crash at {failed}: {exception.Message}", exception);
        }
    }

    /// <summary>
    /// A log that was compacted once (tombstone of "gone" with a delete horizon), and has dirty segments with an
    /// aborted and a committed transaction, compressed batches and an idempotent producer; all of it on stable storage.
    /// </summary>
    private static TestStorage Prepare(out FaultInjectingFileSystem files)
    {
        files = new FaultInjectingFileSystem(new PhysicalFileSystem());
        var storage = new TestStorage(CleaningSample.Compacted with { SegmentBytes = 700 }, files);
        storage.Put(("a", "1"), ("b", "1"), ("gone", "1"), ("c", "1"));
        storage.Put(("gone", null), ("a", "2"));
        storage.Compact();
        storage.Clock.Advance(5000);
        storage.Put(new RecordBatchOptions { Compression = CompressionType.Gzip }, ("b", "2"), ("d", "1"));
        storage.Put(Producer(7, 0, transactional: true), ("a", "aborted"), ("e", "aborted"));
        storage.Log.RollSegment();
        storage.Put(Producer(8, 0, transactional: true), ("c", "2"), ("f", "1"));
        storage.PutMarker(7, ControlRecordType.Abort);
        storage.PutMarker(8, ControlRecordType.Commit);
        storage.Log.RollSegment();
        storage.Put(Producer(9, 0, transactional: false), ("d", "2"));
        storage.Put(Producer(9, 1, transactional: false), ("d", null), ("f", "2"));
        storage.Log.RollSegment();
        storage.Put(("z", "1"));
        storage.Log.Flush();
        storage.Manager.CheckpointRecoveryPoints();
        return storage;
    }

    private static RecordBatchOptions Producer(long id, int sequence, bool transactional) =>
        new() { ProducerId = id, ProducerEpoch = 0, BaseSequence = sequence, IsTransactional = transactional };

    private static void CompactAgain(TestStorage storage)
    {
        while (!storage.Log.Directory.IsOffline && storage.Manager.Cleaner.CleanNext(default))
        {
        }
    }

    private static void Check(TestStorage storage)
    {
        var aborted = storage.Log.GetAbortedTransactions(0, storage.Log.LogEndOffset);
        var table = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (var (header, records) in storage.ReadBatches().Where(static b => !b.Header.IsControl))
        {
            if (header.IsTransactional && aborted.Any(a => a.ProducerId == header.ProducerId
                && header.BaseOffset >= a.FirstOffset && header.LastOffset <= a.LastOffset))
                continue;
            foreach (var record in records)
            {
                if (record.Value is null)
                    table.Remove(record.Key!);
                else
                    table[record.Key!] = record.Value;
            }
        }

        Assert.Equal("a=2 b=2 c=2 f=2 z=1", string.Join(' ', table.Select(static p => $"{p.Key}={p.Value}")));
        Assert.Equal(0, storage.Log.LogStartOffset);
        Assert.Equal(18, storage.Log.LogEndOffset);
        Assert.Null(storage.Log.FirstUnstableOffset);
        var producers = storage.Log.GetActiveProducers().OrderBy(static p => p.ProducerId)
            .Select(static p => (p.ProducerId, p.ProducerEpoch, p.LastSequence)).ToArray();
        Assert.Equal([(7, 0, 1), (8, 0, 1), (9, 0, 2)], producers);
    }
}
