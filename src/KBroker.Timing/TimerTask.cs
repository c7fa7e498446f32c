namespace KBroker.Timing;

/// <summary>
/// Something to run once after a delay. The task is its own entry in the timer: its links are part of it, so that
/// scheduling, moving and cancelling allocate nothing.
/// </summary>
/// <remarks>
/// A task belongs to the first timer it is added to, and may be added there again at any time, also from its own
/// <see cref="Run"/>. For each addition that nobody moves, exactly one thing happens: it runs, or one
/// <see cref="Cancel"/> returns true, or the timer is disposed first.
/// <code>
/// Idle -> Scheduled -> Due -> Idle (runs)        Scheduled, Due -> Cancelled        any -> Scheduled (added again)
/// </code>
/// The transitions into and out of Scheduled happen under the timer's lock; the ones out of Due are one atomic
/// exchange, since by then the task may sit in an executor's queue.
/// </remarks>
public abstract class TimerTask : IThreadPoolWorkItem
{
    internal const int Idle = 0;
    internal const int Scheduled = 1;
    internal const int Due = 2;
    internal const int Cancelled = 3;

    internal TimerTask? Next;
    internal TimerTask? Previous;
    internal SystemTimer? Timer;
    internal long ExpirationMs;
    internal int State;

    /// <summary>Creates a task that waits <paramref name="delayMs"/> milliseconds once it is added.</summary>
    protected TimerTask(long delayMs) => DelayMs = delayMs;

    /// <summary>
    /// The delay in milliseconds, counted from the moment of <see cref="ITaskTimer.Add"/>. A new value takes effect
    /// when the task is added again; it does not move a task that waits. Any value is fine: what is zero or less is
    /// due at once, what is beyond the end of time never.
    /// </summary>
    public long DelayMs { get; set; }

    /// <summary>True from the <see cref="Cancel"/> that prevented a run until the task is added again.</summary>
    public bool IsCancelled => Volatile.Read(ref State) == Cancelled;

    /// <summary>True while the task waits in the timer for its time.</summary>
    public bool IsScheduled => Volatile.Read(ref State) == Scheduled;

    /// <summary>
    /// Prevents the run that is ahead. True when this call did so; false when there is nothing to prevent (never
    /// added, already cancelled, already running or done).
    /// </summary>
    public bool Cancel()
    {
        var timer = Volatile.Read(ref Timer);
        return timer != null && timer.Cancel(this);
    }

    /// <summary>What to do when the time has come. Called outside every lock, on the timer's executor.</summary>
    protected abstract void Run();

    void IThreadPoolWorkItem.Execute()
    {
        // A task that was cancelled or moved after it had been handed to the executor must not run from here.
        if (Interlocked.CompareExchange(ref State, Idle, Due) != Due)
            return;
        try
        {
            Run();
        }
        catch (Exception exception) when (Timer?.OnError != null)
        {
            Timer.OnError(exception);
        }
    }
}
