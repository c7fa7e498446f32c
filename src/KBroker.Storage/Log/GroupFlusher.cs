using System.Collections.Concurrent;

namespace KBroker.Storage.Log;

/// <summary>
/// Runs the flushes of one log directory on a thread of its own, so that many waiters share one fdatasync.
/// </summary>
/// <remarks>
/// A log is in the queue at most once. While its flush runs, further appends to it gather for the next round: with
/// sixteen producers waiting, one fdatasync serves all that came during the one before. When nothing is queued, the
/// first waiter's flush starts at once, so an idle broker adds no wait.
/// </remarks>
internal sealed class GroupFlusher(string name, bool inline) : IDisposable
{
    private readonly BlockingCollection<PartitionLog> _queue = [];
    private readonly Lock _startLock = new();
    private Thread? _thread;

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

        if (Volatile.Read(ref _thread) is null)
            Start();
        try
        {
            _queue.Add(log);
        }
        catch (InvalidOperationException)
        {
            // The directory is being closed: whoever waits is served here.
            log.RunFlushRound();
        }
    }

    /// <summary>Finishes what is queued and ends the thread.</summary>
    public void Dispose()
    {
        _queue.CompleteAdding();
        Volatile.Read(ref _thread)?.Join();
    }

    private void Start()
    {
        lock (_startLock)
        {
            if (_thread is not null)
                return;
            var thread = new Thread(Run) { IsBackground = true, Name = $"flush {name}" };
            thread.Start();
            Volatile.Write(ref _thread, thread);
        }
    }

    private void Run()
    {
        foreach (var log in _queue.GetConsumingEnumerable())
            log.RunFlushRound();
    }
}
