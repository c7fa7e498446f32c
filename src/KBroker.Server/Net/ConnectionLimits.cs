using System.Net;

namespace KBroker.Server.Net;

/// <summary>
/// Counts open connections, in all and by client address. As in Kafka the two limits act differently: past the
/// broker's limit nothing is accepted until a connection closes, while one address past its own limit is turned away.
/// The listener that brokers use among themselves is exempt from the first when there are others.
/// </summary>
internal sealed class ConnectionLimits
{
    private readonly Lock _lock = new();
    private readonly Dictionary<IPAddress, int> _byAddress = [];
    private readonly int _max;
    private readonly int _maxPerIp;
    private readonly IReadOnlyDictionary<IPAddress, int> _overrides;
    private TaskCompletionSource _room = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _count;

    public ConnectionLimits(int max, int maxPerIp, IReadOnlyDictionary<IPAddress, int> overrides)
    {
        _max = max;
        _maxPerIp = maxPerIp;
        _overrides = overrides;
    }

    /// <summary>Open connections.</summary>
    public int Count
    {
        get
        {
            lock (_lock)
                return _count;
        }
    }

    /// <summary>
    /// Whether more connections are open than the broker's limit, which the exempt listener can cause.
    /// </summary>
    public bool IsExceeded => Count > _max;

    /// <summary>Completes when the broker's limit leaves room for one more.</summary>
    public async Task WaitForRoomAsync(CancellationToken cancellation)
    {
        while (true)
        {
            Task room;
            lock (_lock)
            {
                if (_count < _max)
                    return;
                room = _room.Task;
            }
            await room.WaitAsync(cancellation).ConfigureAwait(false);
        }
    }

    /// <summary>Counts a connection in, unless its address has as many as it may.</summary>
    /// <param name="address">The client.</param>
    /// <param name="limit">The limit that stands in the way, when false.</param>
    public bool TryAdd(IPAddress address, out int limit)
    {
        limit = _overrides.TryGetValue(address, out var own) ? own : _maxPerIp;
        lock (_lock)
        {
            var open = _byAddress.GetValueOrDefault(address);
            if (open >= limit)
                return false;
            _byAddress[address] = open + 1;
            _count++;
            return true;
        }
    }

    /// <summary>Counts a connection out.</summary>
    public void Remove(IPAddress address)
    {
        TaskCompletionSource? room = null;
        lock (_lock)
        {
            var open = _byAddress[address] - 1;
            if (open == 0)
                _byAddress.Remove(address);
            else
                _byAddress[address] = open;
            if (--_count < _max)
            {
                room = _room;
                _room = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            }
        }
        room?.TrySetResult();
    }
}
