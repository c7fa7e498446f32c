using KBroker.Storage.Crashing;

namespace KBroker.Storage.Log;

/// <summary>
/// Flushes many logs of one directory with one flush of the file system (syncfs), where each would cost an fdatasync of
/// its own.
/// </summary>
/// <remarks>
/// <para>
/// What each log covers is noted before the call (<see cref="LogFlush.Begin"/>), the recovery points move after it: the
/// call puts on stable storage whatever was written before it began, contents and names.
/// </para>
/// <para>
/// Errors. The kernel remembers a failed writeback for the file and for the file system, each until it was reported
/// to every descriptor that was open at the time; the directory's own descriptor is open since before its first
/// write. So no failure is missed, but a stranger's file is reported, too, and the report does not say whose it was.
/// Therefore, after an error, nothing is taken as flushed: these logs, and from then on all logs of the directory,
/// are flushed file by file, where the kernel reports the failure once more for the very files it happened to. If one
/// of them is ours, the directory goes offline, exactly as without joint flushes. A second joint flush would not do:
/// it could succeed although a log that was not part of the first one has lost its pages.
/// </para>
/// </remarks>
internal static class JointFlush
{
    /// <summary>Flushes logs, and tells whoever waits for a round of theirs.</summary>
    public static void RunRounds(LogDirectory directory, IReadOnlyList<PartitionLog> logs)
    {
        var rounds = new TaskCompletionSource?[logs.Count];
        for (var i = 0; i < rounds.Length; i++)
            rounds[i] = logs[i].State.Flush.BeginRound();
        var failures = Run(directory, logs);
        CrashPoint.Reached("flush.before-ack");
        for (var i = 0; i < rounds.Length; i++)
        {
            if (failures?[i] is { } failure)
                rounds[i]?.SetException(failure);
            else
                rounds[i]?.SetResult();
        }
    }

    /// <summary>Flushes logs.</summary>
    /// <returns>What went wrong with each; null when nothing did.</returns>
    public static StorageException?[]? Run(LogDirectory directory, IReadOnlyList<PartitionLog> logs)
    {
        var scopes = new FlushScope?[logs.Count];
        StorageException?[]? failures = null;
        try
        {
            for (var i = 0; i < scopes.Length; i++)
            {
                try
                {
                    scopes[i] = logs[i].State.Flush.Begin(logs[i].State);
                }
                catch (ObjectDisposedException)
                {
                    (failures ??= new StorageException?[scopes.Length])[i] = logs[i].Deleted();
                }
            }

            if (Array.Exists(scopes, static s => s is not null))
                FlushScopes(directory, logs, scopes);
        }
        catch (Exception exception)
        {
            var failure = exception as StorageException ?? directory.Fail("flushing its logs", exception);
            failures ??= new StorageException?[scopes.Length];
            for (var i = 0; i < failures.Length; i++)
                failures[i] ??= failure;
        }
        finally
        {
            for (var i = 0; i < scopes.Length; i++)
            {
                if (scopes[i] is not null)
                    logs[i].State.Flush.End();
            }
        }

        return failures;
    }

    private static void FlushScopes(
        LogDirectory directory, IReadOnlyList<PartitionLog> logs, FlushScope?[] scopes)
    {
        List<LogFlush>? unpublished = null;
        for (var i = 0; i < scopes.Length; i++)
        {
            if (scopes[i] is { } scope && logs[i].State.Flush.WriteOut(scope))
                (unpublished ??= []).Add(logs[i].State.Flush);
        }

        var isFlushed = TryFlush(directory);
        CrashPoint.Reached("flush.files-flushed");
        if (unpublished is not null)
        {
            // A file under its final name must be whole at any time, so its content is stable before it is renamed.
            if (isFlushed)
                unpublished.ForEach(static f => f.Publish());
            isFlushed = isFlushed && TryFlush(directory);
            if (isFlushed)
                unpublished.ForEach(static f => f.Published());
        }

        for (var i = 0; i < scopes.Length; i++)
        {
            if (scopes[i] is not { } scope)
                continue;
            if (!isFlushed)
                logs[i].State.Flush.FlushFiles(scope);
            logs[i].State.Flush.Complete(scope);
        }
    }

    private static bool TryFlush(LogDirectory directory)
    {
        try
        {
            directory.WholeFlush?.Flush();
            return directory.WholeFlush is not null;
        }
        catch (IOException exception)
        {
            directory.WholeFlushFailed(exception);
            return false;
        }
    }
}
