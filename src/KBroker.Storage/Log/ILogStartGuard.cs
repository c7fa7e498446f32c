namespace KBroker.Storage;

/// <summary>Brings to the end of a log what is still needed of its beginning, before that is deleted.</summary>
public interface ILogStartGuard
{
    /// <summary>
    /// Called before retention or DeleteRecords moves a log's start, without the log's lock; it may append, and take
    /// a while.
    /// </summary>
    /// <param name="newStartOffset">Where the log is going to start.</param>
    /// <returns>Whether it may.</returns>
    bool TryRelease(long newStartOffset);
}
