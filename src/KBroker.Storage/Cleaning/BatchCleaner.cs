using KBroker.Protocol.Records;

namespace KBroker.Storage.Cleaning;

/// <summary>What a log must go on to tell of a producer.</summary>
/// <param name="WindowOffset">The last offset of the oldest of its last five batches.</param>
/// <param name="LastOffset">The last offset of its last batch; -1 when it wrote none in this epoch.</param>
/// <param name="Epoch">Its epoch.</param>
internal readonly record struct KeptProducer(long WindowOffset, long LastOffset, short Epoch);

/// <summary>Decides what becomes of each batch of a log: it stays as it is, loses records, or goes.</summary>
/// <param name="map">The newest offsets of the keys of the dirty part.</param>
/// <param name="records">Takes batches apart.</param>
/// <param name="transactions">Follows the transactions.</param>
/// <param name="stats">Counts.</param>
internal sealed class BatchCleaner(
    OffsetMap map, RecordBatchFilter records, CleanedTransactions transactions, CleaningStats stats)
{
    /// <summary>What must stay of each producer that the log knows.</summary>
    public required IReadOnlyDictionary<long, KeptProducer> Producers { get; init; }

    /// <summary>A batch that ends right before it is kept, empty if need be: it tells where the log ended.</summary>
    public required long EndOffset { get; init; }

    /// <summary>The time, ms.</summary>
    public required long NowMs { get; init; }

    /// <summary><c>delete.retention.ms</c>.</summary>
    public required long DeleteRetentionMs { get; init; }

    /// <summary>Cleans one batch.</summary>
    /// <param name="header">Its header.</param>
    /// <param name="batch">Its bytes.</param>
    /// <returns>What to write in its place: the same memory when nothing changes; empty when it goes.</returns>
    public ReadOnlyMemory<byte> Clean(in RecordBatchHeader header, ReadOnlyMemory<byte> batch)
    {
        stats.RecordsRead += header.RecordsCount;
        var isObsolete = header.IsControl
            ? transactions.IsObsolete(header, batch)
            : transactions.IsAborted(header);
        // A marker without transaction goes as tombstones do, when readers had the time to see it.
        var dropsAll = isObsolete && (!header.IsControl || IsPastHorizon(header));
        var mustStay = KeepsProducer(header) || header.NextOffset == EndOffset;
        if (dropsAll && !mustStay)
            return default;
        // From a time when the topic was not compacted: what waits for its delivery, and what was delivered.
        if (header.IsFlagged && !dropsAll)
        {
            stats.RecordsKept += header.RecordsCount;
            return batch;
        }

        var judge = new Judge(map, header.IsControl, dropsAll, IsPastHorizon(header));
        var verdict = header.RecordsCount == 0 ? default : records.Judge(batch, ref judge);
        stats.InvalidRecords += judge.Invalid;
        stats.RecordsKept += verdict.KeptCount;
        if (verdict.KeptCount == 0 && !mustStay)
            return default;
        if (header.RecordsCount == 0)
            return batch;
        long? horizon = !header.HasDeleteHorizon && (verdict.KeptTombstones || (isObsolete && header.IsControl))
            ? NowMs + Math.Min(DeleteRetentionMs, long.MaxValue - NowMs)
            : null;
        if (verdict.KeptCount == 0)
            horizon = null;
        return verdict.KeepsAll && horizon is null ? batch : records.Build(horizon);
    }

    private bool IsPastHorizon(in RecordBatchHeader header) =>
        header.HasDeleteHorizon && header.BaseTimestamp <= NowMs;

    /// <summary>
    /// Whether a batch tells of a producer what nothing else in the log does: its last sequences, or its epoch. Apache
    /// Kafka keeps only the last batch; then a producer whose earlier requests were in flight when the broker died
    /// fails for good. In a transaction that has ended, as all have that are cleaned, no request is in flight.
    /// </summary>
    private bool KeepsProducer(in RecordBatchHeader header)
    {
        if (!header.HasProducerId || !Producers.TryGetValue(header.ProducerId, out var last))
            return false;
        if (last.LastOffset >= 0)
        {
            return header.LastOffset == last.LastOffset
                || (header.LastOffset >= last.WindowOffset && header.ProducerEpoch == last.Epoch
                    && !header.IsControl && !header.IsTransactional);
        }

        return header.IsControl && header.ProducerEpoch == last.Epoch;
    }

    private struct Judge(OffsetMap map, bool isControl, bool dropsAll, bool isPastHorizon) : IRecordFilter
    {
        private HashedKeys _keys;

        public int Invalid { get; private set; }

        public void Foresee(int slot, in RecordView record)
        {
            if (record.HasKey && !dropsAll && !isControl)
                _keys[slot] = map.Foresee(record.Key);
        }

        public bool Keep(int slot, in RecordBatchHeader header, in RecordView record)
        {
            if (dropsAll)
                return false;
            if (isControl || record.Offset > map.LatestOffset)
                return true;
            if (!record.HasKey)
            {
                Invalid++;
                return false;
            }

            return record.Offset >= map.Get(_keys[slot]) && (record.HasValue || !isPastHorizon);
        }
    }
}
