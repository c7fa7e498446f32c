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
    private bool _isKicked;
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

    /// <summary>Whether there is nothing to send and nothing being sent.</summary>
    public bool IsIdle
    {
        get
        {
            lock (_lock)
                return !_isRunning && _writer.TotalBytes == 0 && _queue.Count == 0;
        }
    }

    /// <summary>Sends what is complete, unless a run is on its way, which then sends it.</summary>
    /// <param name="more">
    /// Whether more is about to complete, and a call without this will follow: then answers are written, but a short
    /// run of them is not sent yet.
    /// </param>
    public void Kick(bool more = false)
    {
        lock (_lock)
        {
            if (_isRunning)
            {
                _isKicked |= !more;
                return;
            }
            if (_isDisposed || (_queue.PeekCompleted() is null && (more || _writer.TotalBytes == 0)))
                return;
            _isRunning = true;
        }
        _ = RunAsync(more);
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

    private async Task RunAsync(bool more)
    {
        while (true)
        {
            Fill();
            if (more && MayWait())
                return;
            more = false;
            if (_writer.TotalBytes > 0)
                await SendAsync().ConfigureAwait(false);
            if (_closeReason is not null)
                _connection.Abort(_closeReason);
            _connection.OnProgress();
            if (HasEnded())
                return;
        }
    }

    private bool MayWait()
    {
        lock (_lock)
        {
            if (_isKicked || _isDisposed || _closeReason is not null || _writer.TotalBytes >= GatherBytes)
                return false;
            _isRunning = false;
            return true;
        }
    }

    private bool HasEnded()
    {
        lock (_lock)
        {
            _isKicked = false;
            if (_queue.PeekCompleted() is not null)
                return false;
            _isRunning = false;
            if (_isDisposed)
                ReleaseBuffers();
        }
        _connection.OnProgress();
        return true;
    }

    private void Fill()
    {
        while (_writer.TotalBytes < GatherBytes && _queue.PeekCompleted() is { } slot)
        {
            _connection.Write(slot, _writer);
            var reason = slot.Context.CloseReason;
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
