using System.Collections.Concurrent;

namespace KBroker.Storage.Log;

/// <summary>
/// Runs the flushes of one log directory on threads of its own, so that many waiters share one fdatasync.
/// </summary>
/// <remarks>
/// A log is in the queue at most once. While its flush runs, further appends to it gather for the next round: with
/// sixteen producers waiting, one fdatasync serves all that came during the one before. When nothing is queued, the
/// first waiter's flush starts at once, so an idle broker adds no wait.
/// Several logs that wait are flushed at the same time: the file system's journal then writes one commit for all of
/// them, where one after the other would each pay for their own.
/// </remarks>
internal sealed class GroupFlusher(string name, bool inline) : IDisposable
{
    /// <summary>Most flushes at the same time.</summary>
    internal const int MaxThreads = 8;

    private readonly BlockingCollection<PartitionLog> _queue = [];
    private readonly Lock _startLock = new();
    private readonly List<Thread> _threads = new(MaxThreads);
    private int _idle;

    /// <summary>Whether flushes run in the caller: for tests that own every thread.</summary>
    public bool IsInline => inline;

    /// <summary>Asks for a flush round of a log.</summary>
    public void Enqueue(PartitionLog log)
    {
        if (inline)
        {
            log.RunFlushRound();
            return;
        }

        try
        {
            _queue.Add(log);
            if (Volatile.Read(ref _idle) < _queue.Count)
                StartAnother();
        }
        catch (InvalidOperationException)
        {
            // The directory is being closed: whoever waits is served here.
            log.RunFlushRound();
        }
    }

    /// <summary>Finishes what is queued and ends the threads.</summary>
    public void Dispose()
    {
        _queue.CompleteAdding();
        Thread[] threads;
        lock (_startLock)
            threads = [.. _threads];
        foreach (var thread in threads)
            thread.Join();
        while (_queue.TryTake(out var log))
            log.RunFlushRound();
    }

    private void StartAnother()
    {
        lock (_startLock)
        {
            if (_threads.Count == MaxThreads || _queue.IsAddingCompleted)
                return;
            var thread = new Thread(Run) { IsBackground = true, Name = $"flush {name}" };
            _threads.Add(thread);
            thread.Start();
        }
    }

    private void Run()
    {
        while (true)
        {
            Interlocked.Increment(ref _idle);
            var isMore = _queue.TryTake(out var log, Timeout.Infinite);
            Interlocked.Decrement(ref _idle);
            if (!isMore)
                return;
            log!.RunFlushRound();
        }
    }
}
