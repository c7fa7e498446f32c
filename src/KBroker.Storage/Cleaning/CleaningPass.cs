using KBroker.Protocol.Records;
using KBroker.Storage.Producers;
using KBroker.Storage.Crashing;
using KBroker.Storage.Segments;

namespace KBroker.Storage.Cleaning;

/// <summary>
/// One compaction of one log: reads the dirty part into an offset map, then writes the segments anew, from the log's
/// front to the end of what the map knows, leaving out what a newer record of the same key has replaced.
/// </summary>
/// <remarks>
/// Example: segments 0-99 (compacted before), 100-199, 200-299 and the active one. The map takes the keys of 100-299;
/// if it is full at 250, the pass ends there. Then 0-299 are read: a record goes when the map has its key with a larger
/// offset; those behind 250 stay. They become one segment or a few, and the next pass starts at 251.
/// </remarks>
internal sealed class CleaningPass : IDisposable
{
    private readonly PartitionLog _log;
    private readonly CleanableLog _range;
    private readonly CleanerSettings _settings;
    private readonly CleaningThrottle _throttle;
    private readonly CleaningBatches _batches;
    private readonly RecordBatchFilter _records;
    private readonly CancellationToken _abort;

    /// <summary>Prepares a pass.</summary>
    /// <param name="range">The log, and what of it may be compacted.</param>
    /// <param name="settings">The broker's settings.</param>
    /// <param name="throttle">Bounds the rate of all threads.</param>
    /// <param name="abort">Cancelled when the pass must stop.</param>
    public CleaningPass(
        CleanableLog range, CleanerSettings settings, CleaningThrottle throttle, CancellationToken abort)
    {
        _range = range;
        _log = range.Log;
        _settings = settings;
        _throttle = throttle;
        _abort = abort;
        _batches = new CleaningBatches(settings.BufferBytesPerThread, throttle);
        _records = new RecordBatchFilter(_log.State.Context.Codecs, _log.State.Context.MaxDecompressedBytes);
    }

    /// <summary>What was done.</summary>
    public CleaningStats Stats { get; } = new();

    /// <summary>Compacts.</summary>
    /// <param name="hash">The hash of keys.</param>
    /// <returns>The first offset that is not compacted now.</returns>
    /// <exception cref="OperationCanceledException">It was told to stop; what is exchanged stays so.</exception>
    /// <exception cref="CorruptLogException">The log is damaged.</exception>
    /// <exception cref="StorageException">The disk failed, and the log directory is offline.</exception>
    public long Run(KeyHash hash)
    {
        var state = _log.State;
        // A crash must find no gap of ours behind the recovery point, where gaps are torn tails.
        _log.Flush();
        state.Directory.CheckpointRecoveryPoints();
        using var map = new OffsetMap(SlotsNeeded(), _settings.LoadFactor, hash);
        new OffsetMapBuilder(_log, _batches, _records, Transactions())
            .Fill(map, _range.FirstDirtyOffset, _range.EndOffset, _abort);
        CrashPoint.Reached("compact.map-built");
        Stats.MapUtilization = map.Utilization;
        Stats.MapBytesRead = _batches.BytesRead;
        var endOffset = map.LatestOffset + 1;

        var config = state.Config;
        var segments = state.Segments.All.TakeWhile(s => s.BaseOffset < endOffset).ToList();
        CleanedSegments? output = null;
        // The index entry of a marker goes where the marker goes.
        var transactions = Transactions(transaction => output!.Add(transaction));
        transactions.Add(_log.GetAbortedTransactions(segments[0].BaseOffset, _range.EndOffset));
        var cleaner = new BatchCleaner(map, _records, transactions, Stats)
        {
            Producers = ProducersNow(),
            EndOffset = _range.EndOffset,
            NowMs = state.Context.NowMs,
            DeleteRetentionMs = config.DeleteRetentionMs,
        };
        foreach (var group in SegmentGroups.Of(segments, _range.EndOffset, config))
        {
            using (output = new CleanedSegments(_log, group, config, _settings.BufferBytesPerThread, _throttle))
                Clean(group, cleaner, output, isFirst: group[0] == segments[0]);
        }

        return endOffset;
    }

    public void Dispose()
    {
        _batches.Dispose();
        _records.Dispose();
    }

    private void Clean(List<LogSegment> group, BatchCleaner cleaner, CleanedSegments output, bool isFirst)
    {
        var isDone = false;
        try
        {
            foreach (var segment in group)
                Copy(segment, cleaner, output);
            output.Complete(_abort);
            CrashPoint.Reached("compact.written");
            _abort.ThrowIfCancellationRequested();
            Stats.BytesRead += group.Sum(static s => (long)s.SizeInBytes);
            Stats.BytesWritten += output.BytesWritten;
            // The first one stays even when it is empty: it tells where the log begins.
            var replacement = isFirst || output.BytesWritten > 0 ? output.Segments : [];
            if (!new SegmentSwap(_log.State).Run(group, replacement))
                throw new OperationCanceledException($"Segments of {_log.TopicPartition} were deleted meanwhile.");
            isDone = replacement.Count > 0;
        }
        catch (Exception exception) when (Log.LogState.IsFailure(exception) && exception is not CorruptLogException)
        {
            throw _log.Directory.Fail($"compacting {_log.Path}", exception);
        }
        finally
        {
            _batches.Close();
            if (!isDone && !_log.Directory.IsOffline)
                output.Discard();
        }
    }

    private void Copy(LogSegment segment, BatchCleaner cleaner, CleanedSegments output)
    {
        _batches.Open(segment, 0);
        while (_batches.MoveNext(_abort))
        {
            try
            {
                var kept = cleaner.Clean(_batches.Header, _batches.Bytes);
                if (!kept.IsEmpty)
                    output.Add(kept, _abort);
            }
            catch (RecordException exception)
            {
                throw _batches.Damaged(exception);
            }
        }
    }

    /// <summary>As many slots as there can be keys, if the settings allow it.</summary>
    private long SlotsNeeded()
    {
        var keys = (_range.EndOffset - _range.FirstDirtyOffset) / Math.Clamp(_settings.LoadFactor, 0.01, 1);
        return (long)Math.Clamp(keys + 2, 2, _settings.SlotsPerThread);
    }

    private CleanedTransactions Transactions(Action<AbortedTransaction>? onKept = null) =>
        new(_log.State.Context.Codecs, _log.State.Context.MaxDecompressedBytes) { OnKept = onKept };

    /// <summary>What the log must go on to tell of each producer.</summary>
    private Dictionary<long, KeptProducer> ProducersNow()
    {
        var kept = new Dictionary<long, KeptProducer>();
        var partial = new List<ProducerState>();
        lock (_log.State.Lock)
        {
            foreach (var producer in _log.State.Producers.All)
            {
                kept[producer.ProducerId] = new KeptProducer(
                    producer.IsEmpty ? -1 : producer.First.LastOffset, producer.Last.LastOffset, producer.Epoch);
                if (producer.IsPartial && !producer.IsEmpty)
                    partial.Add(producer.Copy());
            }
        }

        // After a start, of most producers only the last batch is known.
        foreach (var (id, oldest) in ProducerWindowSearch.FindOldest(partial, _log.State.Segments.All))
            kept[id] = kept[id] with { WindowOffset = oldest };
        return kept;
    }
}
