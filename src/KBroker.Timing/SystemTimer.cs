using System.Diagnostics;
using System.Runtime.ExceptionServices;

namespace KBroker.Timing;

/// <summary>
/// The timer of a broker: a <see cref="TimingWheel"/> behind one lock, driven by one timer of a
/// <see cref="TimeProvider"/> that is always set to the next slot with tasks in it. Adding and cancelling take
/// constant time and allocate nothing; an idle timer does not wake.
/// </summary>
/// <remarks>
/// Time is the provider's monotonic timestamp, so changes of the wall clock move nothing. A task never runs before its
/// delay has passed; on the system's clock it runs about a millisecond after, as fast as the executor takes it. Tasks
/// of one millisecond run in no particular order. The lock is never held while foreign code runs, and never for more
/// than a bounded number of steps, however many tasks expire at once.
/// </remarks>
public sealed class SystemTimer : ITaskTimer, IDisposable
{
    private const int DueMax = 64;
    private const int MovesMax = 256;

    // The runtime's timers accept at most 49 days.
    private const long SleepMaxMs = 24 * 60 * 60 * 1000;

    private readonly Lock _lock = new();
    private readonly TimeProvider _timeProvider;
    private readonly ITaskExecutor _executor;
    private readonly long _startTimestamp;
    private readonly long _frequency;
    private readonly long _unitsPerMs;
    private readonly System.Threading.ITimer _driver;
    private readonly TimingWheel _wheel;
    private readonly TimerTask?[] _due = new TimerTask?[DueMax];
    private int _count;
    private long _wakeMs = long.MaxValue;
    private bool _advancing;
    private bool _disposed;

    /// <summary>Creates a timer whose clock starts now.</summary>
    /// <param name="timeProvider">The clock, and the one timer that drives this one.</param>
    /// <param name="executor">Where due tasks run; the thread pool when null.</param>
    /// <param name="onError">
    /// Gets the exceptions that tasks throw. Without it they go to the executor, which on the thread pool ends the
    /// process.
    /// </param>
    public SystemTimer(
        TimeProvider timeProvider, ITaskExecutor? executor = null, Action<Exception>? onError = null)
        : this(timeProvider, executor, onError, TimingWheel.DefaultSlots)
    {
    }

    internal SystemTimer(TimeProvider timeProvider, ITaskExecutor? executor, Action<Exception>? onError, int slots)
    {
        ArgumentNullException.ThrowIfNull(timeProvider);
        _timeProvider = timeProvider;
        _executor = executor ?? new ThreadPoolExecutor();
        OnError = onError;
        _frequency = timeProvider.TimestampFrequency;
        _unitsPerMs = _frequency % 1000 == 0 ? _frequency / 1000 : 0;
        _startTimestamp = timeProvider.GetTimestamp();
        _wheel = new TimingWheel(0, slots);

        // The driver lives as long as the timer: it must not keep the creator's async locals alive.
        using (SuppressFlow())
        {
            _driver = timeProvider.CreateTimer(
                static timer => ((SystemTimer)timer!).OnWake(),
                this,
                Timeout.InfiniteTimeSpan,
                Timeout.InfiniteTimeSpan);
        }
    }

    /// <inheritdoc/>
    public int Count => Volatile.Read(ref _count);

    internal Action<Exception>? OnError { get; }

    /// <inheritdoc/>
    public void Add(TimerTask task)
    {
        ArgumentNullException.ThrowIfNull(task);
        var nowMs = NowMs(out var isPartial);
        var expirationMs = nowMs;
        if (task.DelayMs > 0)
        {
            // The current millisecond is partly over; counting from its end keeps the task from running early.
            var fromMs = isPartial ? nowMs + 1 : nowMs;
            expirationMs = fromMs + Math.Min(task.DelayMs, TimingWheel.MaxExpirationMs - fromMs);
        }

        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            Bind(task);
            if (task.State == TimerTask.Scheduled)
            {
                TimerBucket.Unlink(task);
                _count--;
            }

            task.ExpirationMs = expirationMs;
            _wheel.CatchUp(nowMs);
            if (_wheel.TryInsert(task))
            {
                Volatile.Write(ref task.State, TimerTask.Scheduled);
                _count++;
                WakeEarlier(nowMs);
                return;
            }

            Volatile.Write(ref task.State, TimerTask.Due);
        }

        _executor.Submit(task);
    }

    /// <summary>
    /// Stops the timer. Tasks that wait are dropped and read as cancelled; those already handed to the executor may
    /// still run. A second call does nothing.
    /// </summary>
    public void Dispose()
    {
        lock (_lock)
        {
            if (_disposed)
                return;
            _disposed = true;
            while (_wheel.RemoveAny() is { } task)
                Volatile.Write(ref task.State, TimerTask.Cancelled);
            _count = 0;
        }

        _driver.Dispose();
    }

    internal bool Cancel(TimerTask task)
    {
        lock (_lock)
        {
            if (task.State == TimerTask.Scheduled)
            {
                TimerBucket.Unlink(task);
                Volatile.Write(ref task.State, TimerTask.Cancelled);
                _count--;
                return true;
            }

            return Interlocked.CompareExchange(ref task.State, TimerTask.Cancelled, TimerTask.Due) == TimerTask.Due;
        }
    }

    private static AsyncFlowControl? SuppressFlow() =>
        ExecutionContext.IsFlowSuppressed() ? null : ExecutionContext.SuppressFlow();

    private void Bind(TimerTask task)
    {
        var owner = Interlocked.CompareExchange(ref task.Timer, this, null);
        if (owner != null && owner != this)
            throw new InvalidOperationException("The task belongs to another timer.");
    }

    // Under the lock, after an insertion. A wake that lies in the past is on its way already, and while the clock
    // advances the wake is at the beginning of time: whoever advances sets the next one.
    private void WakeEarlier(long nowMs)
    {
        if (_wakeMs > nowMs && _wheel.NextMs() < _wakeMs)
            SetWake();
    }

    private void SetWake()
    {
        var nextMs = _wheel.NextMs();
        if (nextMs == long.MaxValue)
        {
            _wakeMs = long.MaxValue;
            return;
        }

        // The clock is read here, since waiting for the lock may have taken a while. At least one millisecond: with
        // zero some providers would call back at once, inside the lock.
        var nowMs = NowMs(out _);
        var sleepMs = Math.Clamp(nextMs - nowMs, 1, SleepMaxMs);
        _wakeMs = nowMs + sleepMs;
        _driver.Change(TimeSpan.FromMilliseconds(sleepMs), Timeout.InfiniteTimeSpan);
    }

    private void OnWake()
    {
        lock (_lock)
        {
            // Only one thread advances; it reads the clock again before it stops, so another has nothing to add.
            if (_disposed || _advancing)
                return;
            _advancing = true;
            _wakeMs = long.MinValue;
        }

        ExceptionDispatchInfo? failure = null;
        while (TakeDue(out var count))
            failure = Submit(count, failure);
        failure?.Throw();
    }

    // False when nothing is left to do before the wake that is then set.
    private bool TakeDue(out int count)
    {
        var nowMs = NowMs(out _);
        lock (_lock)
        {
            count = 0;
            if (_disposed)
                return false;
            count = _wheel.Advance(nowMs, _due, MovesMax, out var finished);
            _count -= count;
            for (var i = 0; i < count; i++)
                Volatile.Write(ref _due[i]!.State, TimerTask.Due);
            if (count > 0 || !finished)
                return true;
            _advancing = false;
            SetWake();
            return false;
        }
    }

    // One task or executor that throws must not cost the others their turn.
    private ExceptionDispatchInfo? Submit(int count, ExceptionDispatchInfo? failure)
    {
        for (var i = 0; i < count; i++)
        {
            var task = _due[i]!;
            _due[i] = null;
            try
            {
                _executor.Submit(task);
            }
            catch (Exception exception)
            {
                failure ??= ExceptionDispatchInfo.Capture(exception);
            }
        }

        return failure;
    }

    // The whole milliseconds since the start, and whether the current one is partly over.
    private long NowMs(out bool isPartial)
    {
        var elapsed = _timeProvider.GetTimestamp() - _startTimestamp;
        Debug.Assert(elapsed >= 0);
        if (_unitsPerMs != 0)
        {
            var (wholeMs, rest) = Math.DivRem(elapsed, _unitsPerMs);
            isPartial = rest != 0;
            return wholeMs;
        }

        // Split, because the product with 1000 overflows after some months.
        var (seconds, fraction) = Math.DivRem(elapsed, _frequency);
        isPartial = fraction * 1000 % _frequency != 0;
        return (seconds * 1000) + (fraction * 1000 / _frequency);
    }
}
