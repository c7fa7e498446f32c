namespace KBroker.Storage;

/// <summary>
/// A log directory failed, now or earlier: nothing in it is served any more (KAFKA_STORAGE_ERROR). A failed write or
/// flush is never tried again, because the kernel may have dropped the pages that could not be written.
/// </summary>
/// <param name="message">Names the directory and what failed.</param>
/// <param name="innerException">The first failure.</param>
public sealed class StorageException(string message, Exception? innerException = null)
    : IOException(message, innerException);

/// <summary>
/// The log was moved to another log directory while the call was on its way; nothing was done. Ask the new log.
/// </summary>
/// <param name="message">Names the partition.</param>
public sealed class LogMovedException(string message) : IOException(message);

/// <summary>The offset lies outside the log (OFFSET_OUT_OF_RANGE).</summary>
/// <param name="message">Names the offset and the bounds.</param>
public sealed class OffsetOutOfRangeException(string message) : Exception(message);

/// <summary>
/// Bytes that were known to be on stable storage do not hold any more: the partition must not be served before someone
/// has looked, because cutting the damage away would lose acknowledged records silently.
/// </summary>
/// <param name="file">The damaged file.</param>
/// <param name="position">Where in it the damage starts, in bytes.</param>
/// <param name="reason">What does not hold there.</param>
/// <param name="remedy">What to do, where it is not the usual.</param>
public sealed class CorruptLogException(string file, long position, string reason, string? remedy = null)
    : IOException($"{file} is damaged at position {position}: {reason}. {remedy ?? UsualRemedy}")
{
    private const string UsualRemedy = "It lies before the recovery point, so nothing was cut. Restore the file from a "
        + "replica or a backup; or accept the loss, with the broker stopped: 'kbroker log truncate' cuts the log "
        + "there, moving the partition's directory away loses all of it.";

    /// <summary>The damaged file.</summary>
    public string File { get; } = file;

    /// <summary>Where in it the damage starts, in bytes.</summary>
    public long Position { get; } = position;
}

/// <summary>A log directory cannot be used: locked by another process, of another cluster or another node.</summary>
/// <param name="message">Names the directory, the value found and the value expected.</param>
/// <param name="innerException">The cause, if any.</param>
public sealed class LogDirectoryException(string message, Exception? innerException = null)
    : Exception(message, innerException);
