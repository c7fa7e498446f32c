using KBroker.Storage.Crashing;
using KBroker.Storage.Log;
using KBroker.Storage.Segments;
using Microsoft.Extensions.Logging;

namespace KBroker.Storage;

/// <summary>
/// Deletes renamed files and directories after <c>file.delete.delay.ms</c>. What is still waiting when the broker
/// stops is
/// deleted at the next start, which knows it by its name.
/// </summary>
internal sealed class DelayedDeletion(LogContext context) : IDisposable
{
    private readonly Lock _lock = new();
    private readonly HashSet<ITimer> _timers = [];
    private bool _disposed;

    /// <summary>Closes and deletes the files of renamed segments.</summary>
    public void DeleteSegments(IReadOnlyList<LogSegment> segments, long delayMs)
    {
        if (segments.Count > 0)
            After(delayMs, () => DeleteNow(segments));
    }

    /// <summary>Deletes a renamed directory.</summary>
    public void DeleteDirectory(string path, long delayMs) => DeleteDirectories([path], delayMs);

    /// <summary>Deletes the renamed directories of logs, those with the same delay together.</summary>
    public void DeleteDirectories(IReadOnlyList<PartitionLog> logs)
    {
        foreach (var group in logs.GroupBy(static l => l.Config.FileDeleteDelayMs))
            DeleteDirectories([.. group.Select(static l => l.Path)], group.Key);
    }

    /// <summary>Deletes renamed directories.</summary>
    public void DeleteDirectories(IReadOnlyList<string> paths, long delayMs)
    {
        if (paths.Count == 0)
            return;
        After(delayMs, () =>
        {
            CrashPoint.Reached("delete.delay-over");
            foreach (var path in paths)
            {
                context.Files.DeleteDirectory(path);
                CrashPoint.Reached("delete.directory-removed");
            }
        });
    }

    public void Dispose()
    {
        lock (_lock)
        {
            _disposed = true;
            foreach (var timer in _timers)
                timer.Dispose();
            _timers.Clear();
        }
    }

    private void DeleteNow(IReadOnlyList<LogSegment> segments)
    {
        foreach (var segment in segments)
        {
            segment.Dispose();
            context.Files.DeleteFile(segment.File.Path);
            CrashPoint.Reached("retention.file-deleted");
            context.Files.DeleteFile(segment.OffsetIndex.Path);
            context.Files.DeleteFile(segment.TimeIndex.Path);
            context.Files.DeleteFile(segment.TransactionIndex.Path);
            context.Files.DeleteFile(segment.FlagIndex.Path);
        }
    }

    private void After(long delayMs, Action delete)
    {
        if (delayMs <= 0)
        {
            Run(delete);
            return;
        }

        var holder = new ITimer?[1];
        var timer = context.Time.CreateTimer(
            _ => Fire(holder, delete), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        lock (_lock)
        {
            if (_disposed)
            {
                timer.Dispose();
                return;
            }

            holder[0] = timer;
            _timers.Add(timer);
        }

        timer.Change(TimeSpan.FromMilliseconds(Math.Min(delayMs, int.MaxValue)), Timeout.InfiniteTimeSpan);
    }

    private void Fire(ITimer?[] holder, Action delete)
    {
        lock (_lock)
        {
            if (_disposed || holder[0] is not { } timer)
                return;
            _timers.Remove(timer);
            timer.Dispose();
        }

        Run(delete);
    }

    private void Run(Action delete)
    {
        try
        {
            delete();
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // Nothing depends on these files any more, so the next start may try again.
            context.Logger.LogWarning(exception, "Deleting old log files failed.");
        }
    }
}
