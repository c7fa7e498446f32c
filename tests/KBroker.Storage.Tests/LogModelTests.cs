using FsCheck;
using FsCheck.Fluent;
using KBroker.Protocol.Records;

namespace KBroker.Storage.Tests;

/// <summary>Random histories of a log beside a model that is a list of timestamps.</summary>
public sealed class LogModelTests
{
    private const long Now = 1_700_000_000_000;

    private enum Kind
    {
        Append,
        Read,
        Find,
        Roll,
        Flush,
        Checkpoint,
        Restart,
        Crash,
        PowerCut,
        DeleteRecords,
        Truncate,
    }

    [Fact]
    public void Every_history_reads_as_the_list_does()
    {
        Prop.ForAll(Arb.From(Gen.ArrayOf(Steps()), Shrink), Run)
            .Check(Config.QuickThrowOnFailure.WithMaxTest(60).WithStartSize(5).WithEndSize(80));
    }

    private static Gen<Step> Steps() =>
        from kind in Gen.Frequency(
            (12, Gen.Constant(Kind.Append)),
            (6, Gen.Constant(Kind.Read)),
            (4, Gen.Constant(Kind.Find)),
            (1, Gen.Constant(Kind.Roll)),
            (2, Gen.Constant(Kind.Flush)),
            (1, Gen.Constant(Kind.Checkpoint)),
            (1, Gen.Constant(Kind.Restart)),
            (1, Gen.Constant(Kind.Crash)),
            (1, Gen.Constant(Kind.PowerCut)),
            (1, Gen.Constant(Kind.DeleteRecords)),
            (1, Gen.Constant(Kind.Truncate)))
        from a in Gen.Choose(0, 1000)
        from b in Gen.Choose(0, 1000)
        select new Step(kind, a, b);

    private static IEnumerable<Step[]> Shrink(Step[] history)
    {
        for (var size = history.Length / 2; size >= 1; size /= 2)
        {
            for (var at = 0; at + size <= history.Length; at += size)
                yield return [.. history[..at], .. history[(at + size)..]];
        }
    }

    private static void Run(Step[] history)
    {
        var files = new FaultInjectingFileSystem(new Files.PhysicalFileSystem());
        var config = new LogConfig { SegmentBytes = 1500, IndexIntervalBytes = 150, FileDeleteDelayMs = 0 };
        using var storage = new TestStorage(config, files);
        var model = new Model();
        foreach (var step in history)
        {
            Apply(storage, files, model, step);
            Assert.Equal(model.End, storage.Log.LogEndOffset);
            Assert.Equal(model.Start, storage.Log.LogStartOffset);
        }

        Assert.Equal(model.Records(), storage.ReadRecords(model.Start));
    }

    private static void Apply(TestStorage storage, FaultInjectingFileSystem files, Model model, Step step)
    {
        switch (step.Kind)
        {
            case Kind.Append:
                var count = 1 + (step.A % 8);
                storage.AppendOk(TestStorage.Batch(
                    count, Now + step.B, (CompressionType)(step.A % 2), valueBytes: step.A % 100, timestampStep: 3));
                model.Append(count, Now + step.B, 3);
                break;
            case Kind.Read when model.End > model.Start:
                var from = model.Start + (step.A % (model.End - model.Start));
                Assert.Equal(model.Records().Where(r => r.Offset >= from), storage.ReadRecords(from, 1 + step.B));
                break;
            case Kind.Find:
                var found = storage.Log.FindOffsetByTimestamp(Now + step.A);
                Assert.Equal(model.Find(Now + step.A), found is { } f ? (f.Offset, f.Timestamp) : null);
                break;
            case Kind.Roll:
                storage.Log.RollSegment();
                break;
            case Kind.Flush:
                storage.Log.Flush();
                model.Flushed = model.End;
                break;
            case Kind.Checkpoint:
                storage.Manager.CheckpointRecoveryPoints();
                break;
            case Kind.Restart:
                storage.CloseCleanly();
                storage.Reopen();
                model.Flushed = model.End;
                break;
            case Kind.Crash:
                storage.CrashAndReopen();
                break;
            case Kind.PowerCut:
                storage.Crash();
                files.CutPower();
                storage.Reopen();
                Assert.InRange(storage.Log.LogEndOffset, Math.Max(model.Flushed, model.Start), model.End);
                model.CutTo(storage.Log.LogEndOffset);
                break;
            case Kind.DeleteRecords:
                var start = model.Start + (step.A % (model.End - model.Start + 1));
                storage.Log.DeleteRecordsBefore(start);
                model.Start = start;
                break;
            case Kind.Truncate when model.End > model.Start:
                storage.Log.TruncateTo(model.Start + (step.A % (model.End - model.Start)));
                Assert.InRange(storage.Log.LogEndOffset, 0, model.End);
                model.CutTo(storage.Log.LogEndOffset);
                model.Start = Math.Min(model.Start, model.End);
                break;
        }
    }

    private readonly record struct Step(Kind Kind, int A, int B);

    private sealed class Model
    {
        private readonly List<long> _timestamps = [];

        public long Start { get; set; }

        public long Flushed { get; set; }

        public long End => _timestamps.Count;

        public void Append(int count, long timestamp, long step)
        {
            for (var i = 0; i < count; i++)
                _timestamps.Add(timestamp + (i * step));
        }

        public void CutTo(long end)
        {
            _timestamps.RemoveRange((int)end, (int)(End - end));
            Flushed = Math.Min(Flushed, end);
        }

        public List<(long Offset, long Timestamp)> Records() =>
            [.. Enumerable.Range((int)Start, (int)(End - Start)).Select(i => ((long)i, _timestamps[i]))];

        public (long Offset, long Timestamp)? Find(long timestamp)
        {
            foreach (var record in Records())
            {
                if (record.Timestamp >= timestamp)
                    return record;
            }

            return null;
        }
    }
}
