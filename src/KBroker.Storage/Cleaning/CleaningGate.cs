namespace KBroker.Storage.Cleaning;

/// <summary>
/// Keeps the cleaning of one log and what would pull the files from under it (truncation, deletion, a move, the close)
/// apart: who wants to change the files asks the cleaning to stop, and waits until it has.
/// </summary>
internal sealed class CleaningGate
{
    private readonly object _lock = new();
    private CancellationTokenSource? _running;
    private Thread? _runner;
    private int _pauses;

    /// <summary>Whether a cleaning runs.</summary>
    public bool IsRunning
    {
        get
        {
            lock (_lock)
                return _running is not null;
        }
    }

    /// <summary>Starts a cleaning.</summary>
    /// <param name="abort">Cancelled when the cleaning must stop.</param>
    /// <returns>False when one runs, or the log is paused.</returns>
    public bool TryEnter(CancellationTokenSource abort)
    {
        lock (_lock)
        {
            if (_running is not null || _pauses > 0)
                return false;
            _running = abort;
            _runner = Thread.CurrentThread;
            return true;
        }
    }

    /// <summary>Ends the cleaning.</summary>
    public void Exit()
    {
        lock (_lock)
        {
            _running = null;
            _runner = null;
            Monitor.PulseAll(_lock);
        }
    }

    /// <summary>Stops the cleaning if one runs, waits for its end, and lets none start until disposed.</summary>
    public Pause PauseAndWait()
    {
        lock (_lock)
        {
            _pauses++;
            // The cleaner itself may end here when the disk fails under it.
            while (_running is not null && _runner != Thread.CurrentThread)
            {
                _running.Cancel();
                Monitor.Wait(_lock);
            }

            return new Pause(this);
        }
    }

    /// <summary>As <see cref="PauseAndWait"/>, but leaves a cleaning that runs alone.</summary>
    /// <returns>False when one runs.</returns>
    public bool TryPause(out Pause pause)
    {
        lock (_lock)
        {
            pause = default;
            if (_running is not null && _runner != Thread.CurrentThread)
                return false;
            _pauses++;
            pause = new Pause(this);
            return true;
        }
    }

    private void Resume()
    {
        lock (_lock)
            _pauses--;
    }

    /// <summary>A time without cleaning; dispose it once.</summary>
    internal readonly struct Pause(CleaningGate? gate) : IDisposable
    {
        public void Dispose() => gate?.Resume();
    }
}
