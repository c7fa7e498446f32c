namespace KBroker.Timing;

/// <summary>The place of one operation in the watch list of one key, as the operation sees it.</summary>
internal abstract class WatchNode
{
    /// <summary>The next of the places of the same operation; set before the operation remembers the node.</summary>
    internal WatchNode? NextOfOperation { get; set; }

    /// <summary>Leaves the watch list; does nothing when that has happened.</summary>
    internal abstract void Unlink();
}

/// <summary>What an operation knows of the purgatory that has it.</summary>
internal interface IOperationOwner
{
    /// <summary>Called once for each claimed operation, when it has completed or was cancelled.</summary>
    void OnReleased();
}
