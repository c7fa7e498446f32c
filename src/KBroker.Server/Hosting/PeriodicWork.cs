using Microsoft.Extensions.Logging;

namespace KBroker.Server.Hosting;

/// <summary>Does something every so often, and once more at the end; never twice at once.</summary>
internal sealed class PeriodicWork : IAsyncDisposable
{
    private readonly Action _work;
    private readonly ILogger _logger;
    private readonly ITimer _timer;
    private readonly Lock _lock = new();

    public PeriodicWork(Action work, TimeSpan period, TimeProvider time, ILogger logger)
    {
        _work = work;
        _logger = logger;
        _timer = time.CreateTimer(static self => ((PeriodicWork)self!).Run(), this, period, period);
    }

    public async ValueTask DisposeAsync()
    {
        await _timer.DisposeAsync().ConfigureAwait(false);
        Run();
    }

    private void Run()
    {
        // Only one run at a time; the next period comes anyway.
        if (!_lock.TryEnter())
            return;
        try
        {
            _work();
        }
        catch (Exception failure)
        {
            _logger.LogError(failure, "Periodic work failed");
        }
        finally
        {
            _lock.Exit();
        }
    }
}
