namespace KBroker.Server.Net;

/// <summary>
/// Holds the acceptance of connections to so many a second (<c>max.connection.creation.rate</c>): a bucket of tokens
/// that holds one second's worth. Shared by all listeners.
/// </summary>
internal sealed class ConnectionRate
{
    private readonly Lock _lock = new();
    private readonly TimeProvider _time;
    private readonly int _perSecond;
    private double _tokens;
    private long _refilled;

    public ConnectionRate(int perSecond, TimeProvider time)
    {
        _perSecond = perSecond;
        _time = time;
        _tokens = perSecond;
        _refilled = time.GetTimestamp();
    }

    /// <summary>Waits for a token and takes it.</summary>
    public async ValueTask TakeAsync(CancellationToken cancellation)
    {
        if (_perSecond == int.MaxValue)
            return;
        while (TryTake() is { } wait)
            await Task.Delay(wait, _time, cancellation).ConfigureAwait(false);
    }

    private TimeSpan? TryTake()
    {
        lock (_lock)
        {
            var now = _time.GetTimestamp();
            _tokens = Math.Min(_perSecond, _tokens + (_time.GetElapsedTime(_refilled, now).TotalSeconds * _perSecond));
            _refilled = now;
            if (_tokens >= 1)
            {
                _tokens--;
                return null;
            }
            return _perSecond == 0
                ? TimeSpan.FromSeconds(1)
                : TimeSpan.FromSeconds(Math.Max(0.001, (1 - _tokens) / _perSecond));
        }
    }
}
