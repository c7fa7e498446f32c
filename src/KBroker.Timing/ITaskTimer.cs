namespace KBroker.Timing;

/// <summary>
/// Runs tasks after a delay. The name avoids <see cref="System.Threading.ITimer"/>, which every file imports.
/// </summary>
public interface ITaskTimer
{
    /// <summary>The number of tasks that wait for their time.</summary>
    int Count { get; }

    /// <summary>
    /// Lets <paramref name="task"/> run once, <see cref="TimerTask.DelayMs"/> milliseconds from now, never earlier.
    /// A task that already waits here is moved. A delay of zero or less hands the task to the executor before this
    /// call returns.
    /// </summary>
    /// <exception cref="ObjectDisposedException">The timer is disposed.</exception>
    /// <exception cref="InvalidOperationException">The task was added to another timer before.</exception>
    void Add(TimerTask task);
}

/// <summary>Conveniences over <see cref="ITaskTimer"/>.</summary>
public static class TaskTimerExtensions
{
    /// <summary>
    /// Calls <paramref name="callback"/> with <paramref name="state"/> once, <paramref name="delayMs"/> milliseconds
    /// from now. The task that is returned cancels it, or schedules it again.
    /// </summary>
    public static TimerTask Schedule<TState>(
        this ITaskTimer timer, long delayMs, TState state, Action<TState> callback)
    {
        ArgumentNullException.ThrowIfNull(timer);
        ArgumentNullException.ThrowIfNull(callback);
        var task = new CallbackTask<TState>(delayMs, state, callback);
        timer.Add(task);
        return task;
    }

    /// <summary>Calls <paramref name="callback"/> once, <paramref name="delayMs"/> milliseconds from now.</summary>
    public static TimerTask Schedule(this ITaskTimer timer, long delayMs, Action callback) =>
        Schedule(timer, delayMs, callback ?? throw new ArgumentNullException(nameof(callback)), static run => run());

    private sealed class CallbackTask<TState>(long delayMs, TState state, Action<TState> callback)
        : TimerTask(delayMs)
    {
        protected override void Run() => callback(state);
    }
}
