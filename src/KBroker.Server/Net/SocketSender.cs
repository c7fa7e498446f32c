using System.Buffers;
using System.Net.Sockets;
using System.Threading.Tasks.Sources;
using KBroker.Protocol;
using KBroker.Protocol.Records;

namespace KBroker.Server.Net;

/// <summary>
/// Sends runs of segments, bytes and file regions, over one socket. Short ones are gathered into one buffer and sent
/// together; a large file region goes by sendfile, so that its bytes never enter this process.
/// </summary>
/// <remarks>
/// Example: a fetch answer of 60 bytes, a 1 MB region, 12 bytes, a 2 KB region, 4 bytes is three system calls when the
/// socket takes it all: send of 60 bytes (flagged that more follows), sendfile of 1 MB, send of 2,064 bytes.
/// A full socket is waited for by the runtime's own asynchronous operations.
/// </remarks>
internal sealed class SocketSender : IDisposable
{
    private const int GatherBytes = 32 * 1024;

    /// <summary>
    /// Largest part of a region that one waiting operation sends, so that progress is seen now and then.
    /// </summary>
    private const int WaitingSendBytes = 1024 * 1024;

    private readonly Socket _socket;
    private readonly int _sendFileMinBytes;
    private PacketsOperation? _packets;
    private byte[]? _gather;
    private int _gathered;

    public SocketSender(Socket socket, int sendFileMinBytes)
    {
        _socket = socket;
        _sendFileMinBytes = sendFileMinBytes;
    }

    /// <summary>Bytes sent so far; grows while a send is under way.</summary>
    public long TotalBytes { get; private set; }

    /// <summary>Of these, bytes sent from files without reading them.</summary>
    public long FileBytes { get; private set; }

    /// <summary>Sends the segments in order. Does not give up their resources.</summary>
    /// <exception cref="SocketException">The connection is gone.</exception>
    /// <exception cref="IOException">A file region could not be read whole: the stream is broken off.</exception>
    public ValueTask SendAsync(IReadOnlyList<OutputSegment> segments)
    {
        if (segments.Count == 1 && segments[0].Region is null)
            return SendBytesAsync(segments[0].Bytes, more: false);
        return SendAllAsync(segments);
    }

    public void Dispose()
    {
        _packets?.Dispose();
        ReturnGather();
    }

    private async ValueTask SendAllAsync(IReadOnlyList<OutputSegment> segments)
    {
        try
        {
            for (var i = 0; i < segments.Count; i++)
            {
                var segment = segments[i];
                if (segment.Region is { } region)
                    await SendRegionAsync(region).ConfigureAwait(false);
                else if (segment.Bytes.Length >= GatherBytes / 2)
                    await SendLargeAsync(segment.Bytes).ConfigureAwait(false);
                else
                    await GatherAsync(segment.Bytes).ConfigureAwait(false);
            }
            await FlushAsync(more: false).ConfigureAwait(false);
        }
        finally
        {
            ReturnGather();
        }
    }

    private async ValueTask SendRegionAsync(IRecordsRegion region)
    {
        if (region.Length >= _sendFileMinBytes && FileRegion.TryGet(region, out var slice))
        {
            await FlushAsync(more: true).ConfigureAwait(false);
            await SendFileAsync(slice).ConfigureAwait(false);
            return;
        }
        var position = 0;
        while (position < region.Length)
        {
            _gather ??= ArrayPool<byte>.Shared.Rent(GatherBytes);
            if (_gathered == _gather.Length)
                await FlushAsync(more: true).ConfigureAwait(false);
            var count = Math.Min(region.Length - position, _gather.Length - _gathered);
            region.Read(position, _gather.AsSpan(_gathered, count));
            _gathered += count;
            position += count;
        }
    }

    private async ValueTask SendLargeAsync(ReadOnlyMemory<byte> bytes)
    {
        await FlushAsync(more: true).ConfigureAwait(false);
        await SendBytesAsync(bytes, more: false).ConfigureAwait(false);
    }

    private async ValueTask GatherAsync(ReadOnlyMemory<byte> bytes)
    {
        _gather ??= ArrayPool<byte>.Shared.Rent(GatherBytes);
        if (_gathered + bytes.Length > _gather.Length)
            await FlushAsync(more: true).ConfigureAwait(false);
        bytes.CopyTo(_gather.AsMemory(_gathered));
        _gathered += bytes.Length;
    }

    private async ValueTask FlushAsync(bool more)
    {
        if (_gathered == 0)
            return;
        await SendBytesAsync(_gather.AsMemory(0, _gathered), more).ConfigureAwait(false);
        _gathered = 0;
    }

    private ValueTask SendBytesAsync(ReadOnlyMemory<byte> bytes, bool more)
    {
        if (SendFile.IsSupported)
        {
            var sent = SendFile.TrySend(_socket, bytes.Span, more);
            TotalBytes += sent;
            if (sent == bytes.Length)
                return default;
            bytes = bytes[sent..];
        }
        return WaitAndSendAsync(bytes);
    }

    private async ValueTask WaitAndSendAsync(ReadOnlyMemory<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            var sent = await _socket.SendAsync(bytes[..Math.Min(bytes.Length, WaitingSendBytes)]).ConfigureAwait(false);
            TotalBytes += sent;
            bytes = bytes[sent..];
        }
    }

    private async ValueTask SendFileAsync(FileRegion slice)
    {
        long position = slice.Position;
        var end = position + slice.Region.Length;
        while (position < end)
        {
            if (SendFile.IsSupported)
            {
                var sent = SendFile.TrySendFile(_socket, slice.Handle, position, end - position);
                if (sent < 0)
                    throw new EndOfStreamException($"The file ends at {position}, and {end} was promised.");
                Count(sent);
                position += sent;
                if (position == end)
                    return;
                if (sent > 0)
                    continue;
            }
            _packets ??= new PacketsOperation();
            var count = (int)Math.Min(end - position, WaitingSendBytes);
            var waited = await _packets.SendAsync(_socket, slice.Stream, position, count).ConfigureAwait(false);
            Count(waited);
            position += waited;
        }

        void Count(long sent)
        {
            TotalBytes += sent;
            FileBytes += sent;
        }
    }

    private void ReturnGather()
    {
        if (_gather is not null)
            ArrayPool<byte>.Shared.Return(_gather);
        _gather = null;
        _gathered = 0;
    }

    /// <summary>The runtime's own sendfile, which waits for a full socket.</summary>
    private sealed class PacketsOperation() : SocketAsyncEventArgs(true),
        IValueTaskSource<int>
    {
        private ManualResetValueTaskSourceCore<int> _core;

        public ValueTask<int> SendAsync(Socket socket, FileStream file, long position, int count)
        {
            _core.Reset();
            SendPacketsElements = [new SendPacketsElement(file, position, count)];
            if (!socket.SendPacketsAsync(this))
                OnCompleted(this);
            return new ValueTask<int>(this, _core.Version);
        }

        protected override void OnCompleted(SocketAsyncEventArgs e)
        {
            SendPacketsElements = null;
            if (SocketError == SocketError.Success)
                _core.SetResult(BytesTransferred);
            else if (SocketError == SocketError.InvalidArgument)
                _core.SetException(new EndOfStreamException("The file is shorter than the region to send."));
            else
                _core.SetException(new SocketException((int)SocketError));
        }

        int IValueTaskSource<int>.GetResult(short token) => _core.GetResult(token);

        ValueTaskSourceStatus IValueTaskSource<int>.GetStatus(short token) => _core.GetStatus(token);

        void IValueTaskSource<int>.OnCompleted(
            Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
            _core.OnCompleted(continuation, state, token, flags);
    }
}
