using System.Buffers;
using KBroker.Protocol.Records;

namespace KBroker.Storage.Cleaning;

/// <summary>
/// Follows the transactions of a log while it is read from the front, and says what of them may go: the records of
/// aborted ones at once; a marker when no batch of its transaction is left before it.
/// </summary>
/// <remarks>
/// Example: producer 7 writes 10-19, aborts at 20. The first compaction meets 10-19, drops them, and keeps the marker
/// with its entry in the transaction index. The second one meets no batch of that transaction: the marker means nothing
/// any more and gets a delete horizon, so that who reads at this moment still finds the end of what was read. A later
/// one, past the horizon, drops it.
/// </remarks>
internal sealed class CleanedTransactions(CompressionCodecs codecs, int maxDecompressedBytes)
{
    private readonly PriorityQueue<AbortedTransaction, long> _aborted = new();
    private readonly Dictionary<long, Ongoing> _ongoingAborted = [];
    private readonly HashSet<long> _ongoingCommitted = [];

    /// <summary>Receives the aborted transactions whose markers stay, for the new transaction index.</summary>
    public Action<AbortedTransaction>? OnKept { get; init; }

    /// <summary>Announces the aborted transactions of what is read.</summary>
    public void Add(IEnumerable<AbortedTransaction> transactions)
    {
        foreach (var transaction in transactions)
            _aborted.Enqueue(transaction, transaction.FirstOffset);
    }

    /// <summary>Follows a batch of data.</summary>
    /// <returns>Whether its transaction was aborted.</returns>
    public bool IsAborted(in RecordBatchHeader header)
    {
        Start(header.LastOffset);
        if (!header.IsTransactional)
            return false;
        if (_ongoingAborted.TryGetValue(header.ProducerId, out var ongoing))
        {
            ongoing.HasBatches = true;
            return true;
        }

        _ongoingCommitted.Add(header.ProducerId);
        return false;
    }

    /// <summary>Follows a control batch.</summary>
    /// <returns>Whether it has no meaning any more.</returns>
    public bool IsObsolete(in RecordBatchHeader header, ReadOnlyMemory<byte> batch)
    {
        Start(header.LastOffset);
        if (header.RecordsCount == 0)
            return true;
        using var reader = new RecordBatchReader(new ReadOnlySequence<byte>(batch), codecs, maxDecompressedBytes);
        if (!reader.TryRead(out var record) || !ControlRecord.TryParseKey(record.Key, out var type))
            return false;
        switch (type)
        {
            case ControlRecordType.Abort:
                if (!_ongoingAborted.Remove(header.ProducerId, out var ongoing) || !ongoing.HasBatches)
                    return true;
                OnKept?.Invoke(ongoing.Transaction);
                return false;
            case ControlRecordType.Commit:
                return !_ongoingCommitted.Remove(header.ProducerId);
            default:
                return false;
        }
    }

    private void Start(long upToOffset)
    {
        while (_aborted.TryPeek(out var transaction, out var first) && first <= upToOffset)
        {
            _aborted.Dequeue();
            _ongoingAborted.TryAdd(transaction.ProducerId, new Ongoing(transaction));
        }
    }

    private sealed class Ongoing(AbortedTransaction transaction)
    {
        public AbortedTransaction Transaction => transaction;

        public bool HasBatches { get; set; }
    }
}
