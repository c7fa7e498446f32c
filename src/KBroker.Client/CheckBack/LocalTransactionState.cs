namespace KBroker.Client.CheckBack;

/// <summary>What became of the local transaction that a half message stands for.</summary>
public enum LocalTransactionState
{
    /// <summary>Nobody knows (yet): the broker asks the producer group later.</summary>
    Unknown,

    /// <summary>It is done: consumers see the message.</summary>
    Commit,

    /// <summary>It did not happen: nobody ever sees the message.</summary>
    Rollback,
}
