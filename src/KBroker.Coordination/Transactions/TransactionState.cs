namespace KBroker.Coordination.Transactions;

/// <summary>Where a transactional id stands; the numbers are those of <c>TransactionLogValue</c>.</summary>
/// <remarks>
/// <code>
/// Empty, CompleteCommit, CompleteAbort --first partition--> Ongoing
/// Ongoing --EndTxn--> PrepareCommit | PrepareAbort --all markers durable--> CompleteCommit | CompleteAbort
/// </code>
/// From the durable Prepare record on the outcome is decided: a coordinator that takes over writes the missing markers.
/// </remarks>
internal enum TransactionState : sbyte
{
    /// <summary>A producer has initialised; there is no transaction.</summary>
    Empty = 0,

    /// <summary>Partitions were added.</summary>
    Ongoing = 1,

    /// <summary>Committed; markers are being written.</summary>
    PrepareCommit = 2,

    /// <summary>Aborted; markers are being written.</summary>
    PrepareAbort = 3,

    /// <summary>Committed, every marker is durable.</summary>
    CompleteCommit = 4,

    /// <summary>Aborted, every marker is durable.</summary>
    CompleteAbort = 5,

    /// <summary>About to be forgotten; not written by KBroker.</summary>
    Dead = 6,

    /// <summary>About to be aborted by the coordinator; not written by KBroker nor by Kafka.</summary>
    PrepareEpochFence = 7,
}

/// <summary>The names of the states in DescribeTransactions and ListTransactions.</summary>
internal static class TransactionStates
{
    /// <summary>The name that Kafka's tools show.</summary>
    /// <param name="state">A state.</param>
    public static string Name(TransactionState state) => state.ToString();

    /// <summary>Finds a state by its exact name.</summary>
    /// <param name="name">The name.</param>
    /// <param name="state">The state.</param>
    /// <returns>False when there is none of that name.</returns>
    public static bool TryParse(string name, out TransactionState state)
    {
        foreach (var known in Enum.GetValues<TransactionState>())
        {
            if (known.ToString() != name)
                continue;
            state = known;
            return true;
        }

        state = default;
        return false;
    }
}

/// <summary>The transaction protocols of clients, as levels of the feature <c>transaction.version</c>.</summary>
internal static class TransactionProtocol
{
    /// <summary>The client adds partitions itself, and its epoch stays the same (TV0, TV1).</summary>
    public const short Classic = 0;

    /// <summary>Partitions are added by the first append, every end of a transaction raises the epoch
    /// (KIP-890).</summary>
    public const short EpochBump = 2;
}
