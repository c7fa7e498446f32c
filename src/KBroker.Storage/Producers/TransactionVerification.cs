namespace KBroker.Storage;

/// <summary>
/// One question to the transaction coordinator: is this partition in the producer's open transaction? Asked before the
/// first batch of a transaction is appended (KIP-890), and handed in with the append. A marker written meanwhile ends
/// the question: the answer would be of a transaction that is over, and a batch appended then would never be ended.
/// </summary>
/// <remarks>See <see cref="PartitionLog.BeginVerification"/>.</remarks>
public sealed class TransactionVerification
{
    internal TransactionVerification(long producerId, short epoch, int sequence, bool isEpochBumped, long nowMs)
    {
        ProducerId = producerId;
        Epoch = epoch;
        LowestSequence = sequence;
        IsEpochBumped = isEpochBumped;
        CreatedMs = nowMs;
    }

    /// <summary>The producer.</summary>
    public long ProducerId { get; }

    /// <summary>Its epoch.</summary>
    public short Epoch { get; }

    /// <summary>The smallest first sequence for which the question was asked.</summary>
    internal int LowestSequence { get; set; }

    /// <summary>Whether the client's epoch rises with each transaction, so that each starts with sequence 0.</summary>
    internal bool IsEpochBumped { get; }

    /// <summary>When it was asked, epoch milliseconds.</summary>
    internal long CreatedMs { get; }
}
