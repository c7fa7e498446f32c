using System.Globalization;
using FsCheck;
using FsCheck.Fluent;
using KBroker.Protocol.Records;
using KBroker.Storage.Files;

namespace KBroker.Storage.Tests.Cleaning;

/// <summary>
/// Random histories of puts, deletes, transactions, rolls, compactions with tiny maps, restarts and crashes, beside a
/// model that never forgets anything.
/// </summary>
public sealed class CompactionModelTests
{
    private const int Keys = 9;
    private const int Producers = 4;
    private const long DeleteRetentionMs = 1000;

    private enum Kind
    {
        Put,
        PutAsProducer,
        PutInTransaction,
        Commit,
        Abort,
        Roll,
        Compact,
        Time,
        Restart,
        Crash,
        PowerCut,
        CrashInCompaction,
        DeleteRecords,
    }

    [Fact]
    public void Every_history_reads_as_the_dictionary_does()
    {
        Prop.ForAll(Arb.From(Gen.ArrayOf(Steps()), Shrink), Run)
            .Check(Config.QuickThrowOnFailure.WithMaxTest(60).WithStartSize(10).WithEndSize(120));
    }

    [Fact]
    public void What_a_recovery_knows_of_producers_outlives_the_deletion_of_their_records_and_a_crash() => Run(
    [
        new Step(Kind.Put, 7119, 5368),
        new Step(Kind.PutAsProducer, 9813, 9838),
        new Step(Kind.PutAsProducer, 1714, 3659),
        new Step(Kind.Put, 6600, 2118),
        new Step(Kind.PutAsProducer, 3039, 6643),
        new Step(Kind.Put, 2469, 5273),
        new Step(Kind.PowerCut, 9540, 1901),
        new Step(Kind.DeleteRecords, 1584, 2630),
        new Step(Kind.Crash, 3152, 4148),
    ]);

    private static Gen<Step> Steps() =>
        from kind in Gen.Frequency(
            (12, Gen.Constant(Kind.Put)),
            (5, Gen.Constant(Kind.PutAsProducer)),
            (8, Gen.Constant(Kind.PutInTransaction)),
            (3, Gen.Constant(Kind.Commit)),
            (3, Gen.Constant(Kind.Abort)),
            (5, Gen.Constant(Kind.Roll)),
            (6, Gen.Constant(Kind.Compact)),
            (4, Gen.Constant(Kind.Time)),
            (1, Gen.Constant(Kind.Restart)),
            (1, Gen.Constant(Kind.Crash)),
            (1, Gen.Constant(Kind.PowerCut)),
            (2, Gen.Constant(Kind.CrashInCompaction)),
            (1, Gen.Constant(Kind.DeleteRecords)))
        from a in Gen.Choose(0, 10_000)
        from b in Gen.Choose(0, 10_000)
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
        var files = new FaultInjectingFileSystem(new PhysicalFileSystem());
        var config = CleaningSample.Compacted with { SegmentBytes = 900, DeleteRetentionMs = DeleteRetentionMs };
        using var storage = new TestStorage(config, files);
        var model = new Model();
        foreach (var step in history)
        {
            Apply(storage, files, model, step);
            Assert.Equal(model.End, storage.Log.LogEndOffset);
            Assert.Equal(model.Start, storage.Log.LogStartOffset);
            Assert.Equal(model.FirstUnstable, storage.Log.FirstUnstableOffset);
            CheckContent(storage, model);
        }

        storage.Clock.Advance(DeleteRetentionMs + 1);
        SetMap(storage, 1000);
        storage.Compact();
        CheckContent(storage, model);
        storage.CloseCleanly();
        storage.Reopen();
        CheckContent(storage, model);
        CheckCompacted(storage, model);
    }

    private static void Apply(TestStorage storage, FaultInjectingFileSystem files, Model model, Step step)
    {
        switch (step.Kind)
        {
            case Kind.Put:
                Put(storage, model, step, new RecordBatchOptions { Compression = (CompressionType)(step.B % 3) });
                break;
            case Kind.PutAsProducer when !model.IsOpen(step.A % Producers):
                Put(storage, model, step, model.NextOf(step.A % Producers) with { IsTransactional = false });
                break;
            case Kind.PutInTransaction:
                Put(storage, model, step, model.NextOf(step.A % Producers) with { IsTransactional = true });
                break;
            case Kind.Commit or Kind.Abort when model.IsOpen(step.A % Producers):
                var type = step.Kind == Kind.Commit ? ControlRecordType.Commit : ControlRecordType.Abort;
                storage.PutMarker(1000 + (step.A % Producers), type);
                model.End++;
                model.Decide(step.A % Producers, step.Kind == Kind.Commit);
                break;
            case Kind.Roll:
                storage.Log.RollSegment();
                break;
            case Kind.Compact:
                // Keys are few, but the map may be fewer still.
                SetMap(storage, 2 + (step.A % 14));
                for (var passes = step.B % 4; passes >= 0 && storage.Manager.Cleaner.CleanNext(default); passes--)
                {
                }

                break;
            case Kind.Time:
                storage.Clock.Advance(1 + (step.A % 700));
                break;
            case Kind.DeleteRecords when model.FirstUnstable is null:
                var start = model.Start + (step.A % (model.End - model.Start + 1));
                storage.Log.DeleteRecordsBefore(start);
                model.Start = start;
                break;
            case Kind.Restart or Kind.Crash or Kind.PowerCut or Kind.CrashInCompaction:
                Stop(storage, files, step);
                break;
        }
    }

    private static void Stop(TestStorage storage, FaultInjectingFileSystem files, Step step)
    {
        storage.Log.Flush();
        if (step.Kind == Kind.CrashInCompaction)
        {
            var left = step.A % 200;
            files.Fault = (_, _) => left-- > 0 ? null : new IOException("the machine is off");
            while (!storage.Log.Directory.IsOffline && storage.Manager.Cleaner.CleanNext(default))
            {
            }
        }

        if (step.Kind == Kind.Restart)
            storage.CloseCleanly();
        else
            storage.Crash();
        files.Fault = null;
        if (step.Kind == Kind.PowerCut || (step.Kind == Kind.CrashInCompaction && step.B % 2 == 0))
            files.CutPower(step.B % 4 == 0 ? null : new Random(step.B));
        storage.Reopen();
    }

    private static void SetMap(TestStorage storage, int slots) => storage.Manager.Cleaner.Reconfigure(
        new CleanerSettings { DedupeBufferBytes = slots * 24, LoadFactor = 0.99, IoBufferBytes = 512 });

    private static void Put(TestStorage storage, Model model, Step step, RecordBatchOptions options)
    {
        var records = new (string? Key, string? Value)[1 + (step.A % 5)];
        for (var i = 0; i < records.Length; i++)
        {
            var value = (step.B + i) % 4 == 0 ? null : $"{model.End + i}-{new string('v', step.B % 60)}";
            records[i] = ("k" + (((step.A * 7) + (i * step.B)) % Keys).ToString(CultureInfo.InvariantCulture), value);
        }

        storage.Put(options, records);
        model.Append(options, records);
    }

    private static void CheckContent(TestStorage storage, Model model)
    {
        var table = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (var record in storage.ReadAll())
        {
            var known = model.Records[record.Offset];
            Assert.Equal((known.Key, known.Value), (record.Key, record.Value));
            if (known.IsCommitted)
                Apply(table, record.Key!, record.Value);
        }

        Assert.Equal(model.Table(), table);
        var producers = storage.Log.GetActiveProducers().ToDictionary(static p => p.ProducerId);
        foreach (var (id, sequence) in model.LastSequences())
            Assert.Equal(sequence, producers[id].LastSequence);
    }

    /// <summary>Below the first unstable offset and the active segment nothing is left that may go.</summary>
    private static void CheckCompacted(TestStorage storage, Model model)
    {
        var end = model.FirstUnstable ?? model.End;
        // The last segment that ends below that offset is the last one compacted.
        var compacted = storage.FileNames(".log").Select(static f => long.Parse(f[..20], CultureInfo.InvariantCulture))
            .Where(o => o <= end).Max();
        var records = storage.ReadAll().Where(r => r.Offset < compacted).ToList();
        Assert.All(records, r => Assert.True(model.Records[r.Offset].IsCommitted, "aborted data is left"));
        Assert.Equal(records.Count, records.DistinctBy(static r => r.Key).Count());
    }

    private static void Apply(SortedDictionary<string, string> table, string key, string? value)
    {
        if (value is null)
            table.Remove(key);
        else
            table[key] = value;
    }

    private readonly record struct Step(Kind Kind, int A, int B);

    private sealed class Known(string key, string? value)
    {
        public string Key => key;

        public string? Value => value;

        public bool IsCommitted { get; set; }
    }

    private sealed class Model
    {
        private readonly int[] _sequences = new int[Producers];
        private readonly List<(long Offset, Known Record)>[] _open =
            [.. Enumerable.Range(0, Producers).Select(static _ => new List<(long, Known)>())];

        public SortedDictionary<long, Known> Records { get; } = [];

        public long Start { get; set; }

        public long End { get; set; }

        public long? FirstUnstable =>
            _open.Where(static o => o.Count > 0).Select(static o => (long?)o[0].Offset).Min();

        public bool IsOpen(int producer) => _open[producer].Count > 0;

        public RecordBatchOptions NextOf(int producer) =>
            new() { ProducerId = 1000 + producer, ProducerEpoch = 0, BaseSequence = _sequences[producer] };

        public void Append(RecordBatchOptions options, (string? Key, string? Value)[] records)
        {
            var producer = (int)options.ProducerId - 1000;
            foreach (var (key, value) in records)
            {
                var record = new Known(key!, value) { IsCommitted = !options.IsTransactional };
                Records[End] = record;
                if (options.IsTransactional)
                    _open[producer].Add((End, record));
                End++;
            }

            if (options.ProducerId >= 0)
                _sequences[producer] += records.Length;
        }

        public void Decide(int producer, bool isCommit)
        {
            foreach (var (_, record) in _open[producer])
                record.IsCommitted = isCommit;
            _open[producer].Clear();
        }

        public SortedDictionary<string, string> Table()
        {
            var table = new SortedDictionary<string, string>(StringComparer.Ordinal);
            foreach (var (offset, record) in Records)
            {
                if (offset >= Start && record.IsCommitted)
                    CompactionModelTests.Apply(table, record.Key, record.Value);
            }

            return table;
        }

        public IEnumerable<(long Id, int Sequence)> LastSequences() =>
            _sequences.Index().Where(static s => s.Item > 0).Select(static s => (1000L + s.Index, s.Item - 1));
    }
}
