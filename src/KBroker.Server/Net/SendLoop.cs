using System.Net.Sockets;
using KBroker.Protocol;

namespace KBroker.Server.Net;

/// <summary>
/// The one place that writes to a connection's socket. It runs while there are completed answers at the front of the
/// queue, on the thread that completed the first of them: short ones are written into one buffer and sent together. So
/// piped bytes and sendfile bytes can never interleave, and an idle connection costs no task.
/// </summary>
internal sealed class SendLoop : IDisposable
{
    /// <summary>Answers are gathered up to about this size before they are sent.</summary>
    private const int GatherBytes = 64 * 1024;

    private readonly Lock _lock = new();
    private readonly ResponseQueue _queue;
    private readonly Connection _connection;
    private readonly ProtocolWriter _writer = new();
    private readonly SocketSender _sender;
    private bool _isRunning;
    private bool _isBlocked;
    private bool _isDisposed;
    private string? _closeReason;

    public SendLoop(ResponseQueue queue, Connection connection, SocketSender sender)
    {
        _queue = queue;
        _connection = connection;
        _sender = sender;
    }

    /// <summary>Whether a send waits for the client to read: no time to start more requests.</summary>
    public bool IsBlocked
    {
        get => Volatile.Read(ref _isBlocked);
        private set => Volatile.Write(ref _isBlocked, value);
    }

    /// <summary>Sends what is complete, unless a run is on its way, which then sends it.</summary>
    public void Kick()
    {
        lock (_lock)
        {
            if (_isRunning || _isDisposed || _queue.PeekCompleted() is null)
                return;
            _isRunning = true;
        }
        _ = RunAsync();
    }

    /// <summary>Returns the buffers, now or when the run under way ends.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            if (_isDisposed)
                return;
            _isDisposed = true;
            if (_isRunning)
                return;
        }
        ReleaseBuffers();
    }

    private async Task RunAsync()
    {
        while (true)
        {
            Fill();
            if (_writer.TotalBytes > 0)
                await SendAsync().ConfigureAwait(false);
            if (_closeReason is not null)
                _connection.Abort(_closeReason);
            _connection.OnProgress();
            lock (_lock)
            {
                if (_queue.PeekCompleted() is not null)
                    continue;
                _isRunning = false;
                if (!_isDisposed)
                    return;
            }
            ReleaseBuffers();
            return;
        }
    }

    private void Fill()
    {
        while (_writer.TotalBytes < GatherBytes && _queue.PeekCompleted() is { } slot)
        {
            _connection.Write(slot, _writer);
            var reason = slot.Context.CloseReason;
            slot.Reset();
            _queue.RemoveFirst();
            if (reason is null)
                continue;
            _closeReason = reason;
            return;
        }
    }

    private async ValueTask SendAsync()
    {
        try
        {
            if (!_connection.IsAborted)
            {
                var before = _sender.TotalBytes;
                var send = _sender.SendAsync(_writer.Segments);
                IsBlocked = !send.IsCompleted;
                await send.ConfigureAwait(false);
                _connection.OnSent(_sender.TotalBytes - before);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            _connection.OnSocketFailure(e);
        }
        catch (Exception e)
        {
            _connection.Abort($"the answer could not be sent: {e.Message}");
        }
        finally
        {
            IsBlocked = false;
            _writer.Reset();
        }
    }

    private void ReleaseBuffers()
    {
        _writer.Dispose();
        _sender.Dispose();
    }
}
