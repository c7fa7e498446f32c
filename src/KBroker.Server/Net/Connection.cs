using System.Buffers;
using System.IO.Pipelines;
using System.Net.Sockets;
using KBroker.Protocol;
using KBroker.Server.Dispatch;
using KBroker.Server.Net.Framing;
using KBroker.Server.Observability;
using Microsoft.Extensions.Logging;

namespace KBroker.Server.Net;

/// <summary>What all connections of a broker share.</summary>
internal sealed record ConnectionServices(
    NetworkOptions Options, IRequestDispatcher Dispatcher, ServerMetrics Metrics, TimeProvider Time, ILogger Log);

/// <summary>
/// One client connection: a receive loop (socket to pipe), a process loop (pipe to frames to ordered halves), a
/// <see cref="ResponseQueue"/> and a <see cref="SendLoop"/>. The loops run on the thread that the socket's event
/// arrives on: from the arrival of a request to the sending of an answer that needs no waiting there is no hand-over.
/// </summary>
/// <remarks>
/// <para>Memory: the pipe holds the frame that is being received and at most 64 KB behind it; buffers grow with what
/// has really arrived, not with what a size field promises. A request starts only while fewer than
/// <see cref="NetworkOptions.MaxRequestsInFlight"/> are under way and no answer waits for the client to read, so a
/// client that never reads holds one buffer of answers and the answers under way when its socket filled. Of answers
/// that wait for an earlier one, at most <see cref="MaxUnwrittenAnswers"/> are there when a request starts.</para>
/// <para>End: the client's end of stream, <see cref="Drain"/>, and a request that closes the connection all let the
/// requests before them be answered; <see cref="Abort"/> does not.</para>
/// </remarks>
internal sealed class Connection
{
    private const int PipePauseBytes = 64 * 1024;
    private const int FirstReceiveBytes = 16 * 1024;

    /// <summary>A frame's buffers grow to at least this, then fourfold what has arrived of it.</summary>
    private const int GrowBytes = 64 * 1024;

    /// <summary>An answer is sent together with those behind it only if their requests are here and short.</summary>
    private const int ShortFrameBytes = 8 * 1024;

    /// <summary>No request starts while so many answers wait for an earlier one, or for the send loop.</summary>
    private const int MaxUnwrittenAnswers = 8;

    private readonly ConnectionServices _services;
    private readonly Socket _socket;
    private readonly Pipe _pipe;
    private readonly ResponseQueue _queue;
    private readonly SocketSender _sender;
    private readonly SendLoop _sendLoop;
    private readonly AsyncSignal _progress = new();
    private readonly Action<Connection> _onClosed;
    private readonly IdleWatch _idle = new();
    private int _frameMissingBytes;
    private int _frameReceivedBytes;
    private long _receivedBytes;
    private int _isAborted;
    private volatile bool _isStopping;

    /// <summary>A request was taken that no other may follow.</summary>
    private bool _closesAfterAnswer;

    /// <param name="socket">Accepted.</param>
    /// <param name="session">Who is connected.</param>
    /// <param name="services">What all connections share.</param>
    /// <param name="onClosed">Called once, when the socket is closed; requests may still be under way.</param>
    public Connection(
        Socket socket, ClientSession session, ConnectionServices services, Action<Connection> onClosed)
    {
        _onClosed = onClosed;
        _socket = socket;
        _services = services;
        Session = session;
        _pipe = new Pipe(new PipeOptions(
            readerScheduler: PipeScheduler.Inline, writerScheduler: PipeScheduler.Inline,
            pauseWriterThreshold: PipePauseBytes, resumeWriterThreshold: PipePauseBytes / 2,
            minimumSegmentSize: FirstReceiveBytes, useSynchronizationContext: false));
        _queue = new ResponseQueue(session, services.Options.MaxRequestsInFlight, _ => _sendLoop!.Kick());
        _sender = new SocketSender(socket, services.Options.SendFileMinBytes);
        _sendLoop = new SendLoop(_queue, this, _sender);
    }

    /// <summary>Who is connected.</summary>
    public ClientSession Session { get; }

    /// <summary>Whether the socket is closed, and answers still to come have nowhere to go.</summary>
    public bool IsAborted => Volatile.Read(ref _isAborted) != 0;

    /// <summary>Serves the connection to its end; completes when nothing of it runs any more.</summary>
    public async Task RunAsync()
    {
        var process = ProcessAsync();
        var receive = ReceiveAsync();
        await process.ConfigureAwait(false);
        Session.Close();
        // Frames of a request that runs alone are in the pipe; others are done with theirs.
        await WaitForAnswersAsync(orAborted: true).ConfigureAwait(false);
        if (!IsAborted)
            await LingerAsync(receive).ConfigureAwait(false);
        if (Interlocked.Exchange(ref _isAborted, 1) == 0)
            DisposeSocket();
        await receive.ConfigureAwait(false);
        await WaitForAnswersAsync(orAborted: false).ConfigureAwait(false);
        _sendLoop.Dispose();
    }

    /// <summary>Takes no more requests, answers those that were taken, and closes.</summary>
    public void Drain()
    {
        _isStopping = true;
        Session.Close();
        _pipe.Reader.CancelPendingRead();
        _progress.Set();
    }

    /// <summary>Closes at once.</summary>
    /// <param name="reason">For the log; null when there is nothing to tell.</param>
    /// <param name="level">How loud to say it.</param>
    public void Abort(string? reason, LogLevel level = LogLevel.Warning)
    {
        if (Interlocked.Exchange(ref _isAborted, 1) != 0)
            return;
        if (reason is not null)
        {
            _services.Log.Log(
                level, "Closed connection {ConnectionId} on listener {Listener}, client {Client}: {Reason}",
                Session.ConnectionId, Session.ListenerName, Session.RemoteEndPoint, reason);
        }
        DisposeSocket();
        _pipe.Reader.CancelPendingRead();
        Session.Close();
        _progress.Set();
    }

    /// <summary>
    /// How long nothing was received or sent although the client could act; see <see cref="IdleWatch"/>.
    /// </summary>
    public TimeSpan UpdateIdle(TimeProvider time)
    {
        var waitsForBroker = _queue.Count > 0 && !_sendLoop.IsBlocked;
        return _idle.Update(time, Volatile.Read(ref _receivedBytes) + _sender.TotalBytes, waitsForBroker);
    }

    /// <summary>Appends the answer of a completed request; called by the send loop, in request order.</summary>
    internal void Write(ResponseSlot slot, ProtocolWriter writer)
    {
        var context = slot.Context;
        try
        {
            var response = slot.Response;
            if (slot.Failure is InvalidRequestException)
                return;
            if (slot.Failure is { } failure)
            {
                response = _services.Dispatcher.Fail(context, failure);
                if (response is null)
                    context.CloseConnection($"{context.ApiKey} version {context.ApiVersion} failed");
            }
            var before = writer.TotalBytes;
            if (response is not null)
                ResponseFrame.Write(writer, context, response);
            _services.Metrics.RequestCompleted(context, writer.TotalBytes - before);
        }
        catch (Exception e)
        {
            _services.Log.LogError(e, "The answer to {Api} version {Version} of {Client} could not be written",
                context.ApiKey, context.ApiVersion, Session.RemoteEndPoint);
            Abort($"the answer to {context.ApiKey} version {context.ApiVersion} could not be written");
        }
    }

    internal void OnSent(long bytes) => _services.Metrics.BytesSent(bytes);

    /// <summary>Slots were given free, or a blocked send went on.</summary>
    internal void OnProgress() => _progress.Set();

    internal void OnSocketFailure(Exception exception) => Abort(exception.Message, LogLevel.Debug);

    private async Task ReceiveAsync()
    {
        var writer = _pipe.Writer;
        try
        {
            while (true)
            {
                var memory = writer.GetMemory(ReceiveSizeHint());
                var count = await _socket.ReceiveAsync(memory, SocketFlags.None).ConfigureAwait(false);
                if (count == 0)
                    break;
                Volatile.Write(ref _receivedBytes, _receivedBytes + count);
                _services.Metrics.BytesReceived(count);
                writer.Advance(count);
                var flush = await writer.FlushAsync().ConfigureAwait(false);
                if (!flush.IsCompleted)
                    continue;
                await DiscardAsync().ConfigureAwait(false);
                break;
            }
            Session.Close();
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            OnSocketFailure(e);
        }
        finally
        {
            await writer.CompleteAsync().ConfigureAwait(false);
        }
    }

    private int ReceiveSizeHint()
    {
        var missing = Volatile.Read(ref _frameMissingBytes);
        return missing == 0 ? 0 : (int)Math.Min(missing, Math.Max(GrowBytes, 4L * _frameReceivedBytes));
    }

    private async Task ProcessAsync()
    {
        var reader = _pipe.Reader;
        try
        {
            while (!_isStopping && !IsAborted)
            {
                var result = await reader.ReadAsync().ConfigureAwait(false);
                var buffer = result.Buffer;
                int missing;
                while (TryReadFrame(ref buffer, out var frame, out missing))
                    await StartAsync(frame, FrameReader.HasShortFrame(buffer, ShortFrameBytes)).ConfigureAwait(false);
                _sendLoop.Kick();
                _frameReceivedBytes = (int)Math.Min(int.MaxValue, buffer.Length);
                Volatile.Write(ref _frameMissingBytes, missing);
                reader.AdvanceTo(buffer.Start, buffer.End);
                if (result.IsCompleted)
                    break;
            }
        }
        catch (InvalidFrameException e)
        {
            await WaitForAnswersAsync(orAborted: true).ConfigureAwait(false);
            Abort(e.Message);
        }
        finally
        {
            await reader.CompleteAsync().ConfigureAwait(false);
        }
    }

    private bool TryReadFrame(
        ref ReadOnlySequence<byte> buffer, out ReadOnlySequence<byte> frame,
        out int missing)
    {
        frame = default;
        missing = 0;
        return !IsAborted && !_closesAfterAnswer
            && FrameReader.TryRead(ref buffer, _services.Options.SocketRequestMaxBytes, out frame, out missing);
    }

    private async ValueTask StartAsync(ReadOnlySequence<byte> frame, bool moreIsHere)
    {
        ResponseSlot? slot;
        while ((_sendLoop.IsBlocked && _queue.Count > 0) || _queue.UnwrittenAnswers >= MaxUnwrittenAnswers
            || (slot = _queue.TryAdd()) is null)
        {
            _sendLoop.Kick();
            await _progress.WaitAsync().ConfigureAwait(false);
            if (IsAborted)
                return;
        }
        var number = _queue.Started;
        var isComplete = Dispatch(slot, frame);
        if (!isComplete && slot.Context.RunsAlone)
        {
            while (_queue.Finished < number)
                await _progress.WaitAsync().ConfigureAwait(false);
        }
        else if (isComplete)
        {
            _sendLoop.Kick(moreIsHere);
        }
    }

    private bool Dispatch(ResponseSlot slot, in ReadOnlySequence<byte> frame)
    {
        var context = slot.Context;
        context.Start(frame, _services.Time.GetTimestamp());
        try
        {
            var pending = _services.Dispatcher.Dispatch(context);
            if (!context.RunsAlone)
                context.Body = default;
            return slot.Start(pending);
        }
        catch (Exception e)
        {
            if (e is InvalidRequestException)
            {
                context.CloseConnection(e.Message);
                _closesAfterAnswer = true;
            }
            slot.Fail(e);
            return true;
        }
    }

    private async Task WaitForAnswersAsync(bool orAborted)
    {
        while (!(orAborted && IsAborted))
        {
            _sendLoop.Kick();
            if (_sendLoop.IsIdle)
                return;
            await _progress.WaitAsync().ConfigureAwait(false);
        }
    }

    /// <summary>
    /// Closing a socket with unread input resets the connection, and the client may lose answers that it has not read
    /// yet. So first say that nothing more comes, and give the client a moment to close its side.
    /// </summary>
    private async Task LingerAsync(Task receive)
    {
        try
        {
            _socket.Shutdown(SocketShutdown.Send);
            await receive.WaitAsync(TimeSpan.FromMilliseconds(500), _services.Time).ConfigureAwait(false);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or TimeoutException)
        {
            _services.Log.LogTrace(e, "Connection {ConnectionId} was not closed by its client", Session.ConnectionId);
        }
    }

    private async Task DiscardAsync()
    {
        var scratch = new byte[4096];
        for (var total = 0; total < 1024 * 1024;)
        {
            var count = await _socket.ReceiveAsync(scratch.AsMemory(), SocketFlags.None).ConfigureAwait(false);
            if (count == 0)
                return;
            total += count;
        }
    }

    private void DisposeSocket()
    {
        try
        {
            _socket.Shutdown(SocketShutdown.Both);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Already gone, which is what is wanted.
        }
        _socket.Dispose();
        _onClosed(this);
    }
}
