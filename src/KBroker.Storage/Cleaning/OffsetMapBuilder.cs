using KBroker.Protocol.Records;
using KBroker.Storage.Segments;

namespace KBroker.Storage.Cleaning;

/// <summary>Reads the dirty part of a log into an offset map: until its end, or until the map is full.</summary>
internal sealed class OffsetMapBuilder(
    PartitionLog log, CleaningBatches batches, RecordBatchFilter records, CleanedTransactions transactions)
{
    /// <summary>Fills the map.</summary>
    /// <param name="map">An empty one.</param>
    /// <param name="from">The first dirty offset.</param>
    /// <param name="to">The offset behind the last dirty one; a segment starts there.</param>
    /// <param name="abort">Cancelled when the cleaning must stop.</param>
    public void Fill(OffsetMap map, long from, long to, CancellationToken abort)
    {
        transactions.Add(log.GetAbortedTransactions(from, to));
        var all = log.State.Segments.All;
        for (var i = Math.Max(0, SegmentList.Floor(all, from)); i < all.Length && all[i].BaseOffset < to; i++)
        {
            var segment = all[i];
            var end = i + 1 < all.Length ? all[i + 1].BaseOffset : to;
            if (!TryFill(map, segment, from, abort))
                return;
            // The last batches may be gone, compacted away.
            map.AdvanceTo(end - 1);
        }
    }

    /// <summary>Reads one segment.</summary>
    /// <returns>False when the map is full.</returns>
    private bool TryFill(OffsetMap map, LogSegment segment, long from, CancellationToken abort)
    {
        batches.Open(segment, segment.OffsetIndex.Lookup(from).Position);
        while (batches.MoveNext(abort))
        {
            var header = batches.Header;
            if (header.LastOffset < from)
                continue;
            try
            {
                if (header.IsControl)
                {
                    transactions.IsObsolete(header, batches.Bytes);
                }
                else if (!transactions.IsAborted(header) && header.RecordsCount > 0 && !header.IsHiding)
                {
                    var filler = new Filler(map, from);
                    records.Judge(batches.Bytes, ref filler);
                    if (filler.IsFull)
                        return false;
                }
            }
            catch (RecordException exception)
            {
                throw batches.Damaged(exception);
            }

            map.AdvanceTo(header.LastOffset);
        }

        return true;
    }

    /// <summary>Puts the keys of a batch into the map.</summary>
    private struct Filler(OffsetMap map, long from) : IRecordFilter
    {
        private HashedKeys _keys;

        public bool IsFull { get; private set; }

        public void Foresee(int slot, in RecordView record)
        {
            if (record.HasKey)
                _keys[slot] = map.Foresee(record.Key);
        }

        public bool Keep(int slot, in RecordBatchHeader header, in RecordView record)
        {
            if (!IsFull && record.HasKey && record.Offset >= from)
                IsFull = !map.TryPut(_keys[slot], record.Offset);
            return false;
        }
    }
}
