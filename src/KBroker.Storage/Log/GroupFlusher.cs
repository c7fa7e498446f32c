namespace KBroker.Storage.Log;

/// <summary>
/// Runs the flushes of one log directory on threads of its own, so that many waiters share one trip to the disk.
/// </summary>
/// <remarks>
/// <para>
/// A log is in the queue at most once, however many wait for it. Whatever is queued while a flush runs makes the next
/// one: sixteen producers of one partition share an fdatasync, and the producers of a thousand partitions share a
/// syncfs (<see cref="JointFlush"/>). When nothing runs, the first waiter's flush starts at once; an idle broker adds
/// no wait, and there is no timer to tune.
/// </para>
/// <para>
/// Up to two logs are flushed for themselves at the same time; with three or more in the queue they are flushed
/// together, and what comes meanwhile waits for the next joint flush. One that lasts (somebody else fills the disk)
/// does not hold up the rest: after a while newcomers are flushed for themselves, and <see cref="FlushChoice"/> keeps
/// away from joint flushes while they cost more than they save. Where the file system has none, up to eight threads
/// flush a log each.
/// </para>
/// <para>
/// Promise: a waiter is answered only by a flush that began after it asked, and so after its append; a flush that
/// failed takes the directory offline before anybody is told.
/// </para>
/// </remarks>
internal sealed class GroupFlusher(LogDirectory directory, LogContext context, bool inline) : IDisposable
{
    /// <summary>Most flushes at the same time.</summary>
    internal const int MaxThreads = 8;

    /// <summary>Flushes of single logs at the same time, where more logs could be flushed together.</summary>
    private const int MaxSingles = 2;

    /// <summary>How long newcomers wait for a joint flush before they are flushed for themselves.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(30);

    // A Lock cannot be waited on.
    private readonly object _gate = new();
    private readonly Queue<PartitionLog> _waiting = new();
    private readonly List<Thread> _threads = new(MaxThreads);
    private readonly FlushChoice _choice = new(context.Time);
    private int _idle;
    private int _singles;
    private bool _isJointRunning;
    private long _jointStarted;
    private bool _isWatched;
    private bool _isEnding;

    private enum Step
    {
        Wait,
        Single,
        Joint,
    }

    /// <summary>Whether flushes run in the caller: for tests that own every thread.</summary>
    public bool IsInline => inline;

    /// <summary>Asks for a flush round of a log.</summary>
    public void Enqueue(PartitionLog log)
    {
        if (!inline)
        {
            lock (_gate)
            {
                if (!_isEnding)
                {
                    _waiting.Enqueue(log);
                    Wake();
                    return;
                }
            }
        }

        log.RunFlushRound();
    }

    /// <summary>Finishes what is queued and ends the threads.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _isEnding = true;
            Monitor.PulseAll(_gate);
        }

        // No thread is added any more.
        foreach (var thread in _threads)
            thread.Join();
        while (_waiting.TryDequeue(out var log))
            log.RunFlushRound();
    }

    /// <summary>Lets a thread look at the queue, if there is something it could begin.</summary>
    private void Wake()
    {
        // While a joint flush runs, one thread watches how long it takes; the others need not look.
        if (NextStep() == Step.Wait && (!_isJointRunning || _isWatched))
            return;
        if (_idle > 0)
            Monitor.Pulse(_gate);
        else if (_threads.Count < MaxThreads && !_isEnding)
            StartThread();
    }

    private void StartThread()
    {
        var thread = new Thread(Run) { IsBackground = true, Name = $"flush {directory.Path}" };
        _threads.Add(thread);
        thread.Start();
    }

    private Step NextStep()
    {
        if (_waiting.Count == 0)
            return Step.Wait;
        if (_isJointRunning)
            return context.Time.GetElapsedTime(_jointStarted) < Patience ? Step.Wait : Step.Single;
        if (directory.WholeFlush is null || !_choice.IsTogetherAllowed)
            return Step.Single;
        if (_waiting.Count >= FlushChoice.FewestTogether)
            return Step.Joint;
        return _singles < MaxSingles ? Step.Single : Step.Wait;
    }

    private void Run()
    {
        var taken = new List<PartitionLog>();
        while (Take(taken) is var step && step != Step.Wait)
        {
            var started = context.Time.GetTimestamp();
            if (step == Step.Joint)
                JointFlush.RunRounds(directory, taken);
            else
                taken[0].RunFlushRound();
            Finished(step, taken.Count, context.Time.GetElapsedTime(started));
            taken.Clear();
        }
    }

    /// <summary>Waits for something to do.</summary>
    /// <returns>What it is; <see cref="Step.Wait"/> at the end.</returns>
    private Step Take(List<PartitionLog> taken)
    {
        lock (_gate)
        {
            while (true)
            {
                var step = NextStep();
                if (step == Step.Joint)
                {
                    while (_waiting.TryDequeue(out var log))
                        taken.Add(log);
                    (_isJointRunning, _jointStarted) = (true, context.Time.GetTimestamp());
                    return step;
                }

                if (step == Step.Single)
                {
                    taken.Add(_waiting.Dequeue());
                    _singles++;
                    // The next one may begin, too, on a thread of its own.
                    Wake();
                    return step;
                }

                if (_isEnding && _waiting.Count == 0)
                {
                    Monitor.PulseAll(_gate);
                    return Step.Wait;
                }

                WaitForWork();
            }
        }
    }

    private void WaitForWork()
    {
        _idle++;
        if (_isJointRunning && !_isWatched && _waiting.Count > 0)
        {
            _isWatched = true;
            Monitor.Wait(_gate, Patience);
            _isWatched = false;
        }
        else
        {
            Monitor.Wait(_gate);
        }

        _idle--;
    }

    private void Finished(Step step, int logs, TimeSpan elapsed)
    {
        lock (_gate)
        {
            if (step == Step.Joint)
            {
                _isJointRunning = false;
                _choice.TookTogether(elapsed, logs);
            }
            else
            {
                _singles--;
                _choice.TookSingle(elapsed);
            }
        }
    }
}
