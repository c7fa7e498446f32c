using Microsoft.Extensions.Logging;

namespace KBroker.Storage.Cleaning;

/// <summary>A thread that compacts one log after the other, and rests when there is none.</summary>
internal sealed class CleanerThread : IDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly Func<CancellationToken, bool> _cleanNext;
    private readonly TimeSpan _backoff;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly Thread _thread;
    private bool _hasFailed;

    /// <summary>Starts the thread.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="cleanNext">Compacts one log; false when none needs it.</param>
    /// <param name="backoffMs">How long it rests then, ms.</param>
    /// <param name="time">The clock.</param>
    /// <param name="logger">Told when it ends by an error.</param>
    public CleanerThread(
        string name, Func<CancellationToken, bool> cleanNext, long backoffMs, TimeProvider time, ILogger logger)
    {
        _cleanNext = cleanNext;
        _backoff = TimeSpan.FromMilliseconds(Math.Clamp(backoffMs, 1, int.MaxValue - 1));
        _time = time;
        _logger = logger;
        _thread = new Thread(Run) { IsBackground = true, Name = name };
        _thread.Start();
    }

    /// <summary>Whether it ended by an error that it did not expect.</summary>
    public bool HasFailed => Volatile.Read(ref _hasFailed);

    /// <summary>Asks it to end soon.</summary>
    public void RequestStop() => _stop.Cancel();

    /// <summary>Ends it and waits for that; the cleaner itself may end here when the disk fails under it.</summary>
    public void Dispose()
    {
        _stop.Cancel();
        if (Thread.CurrentThread == _thread)
            return;
        _thread.Join();
        _stop.Dispose();
    }

    private void Run()
    {
        try
        {
            while (!_stop.IsCancellationRequested)
            {
                if (!_cleanNext(_stop.Token))
                    Task.Delay(_backoff, _time, _stop.Token).GetAwaiter().GetResult();
            }
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // Asked to end.
        }
        catch (Exception exception)
        {
            // Whatever it is, the broker goes on without this thread; the instrument tells.
            Volatile.Write(ref _hasFailed, true);
            _logger.LogError(exception, "A cleaner thread has ended; logs are compacted by the others, if any.");
        }
    }
}
