using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace KBroker.Compat.Harness;

/// <summary>What a <see cref="BadNetwork"/> may do with one request.</summary>
public enum NetworkFault
{
    /// <summary>It and its answer pass.</summary>
    None,

    /// <summary>The connection breaks before the broker gets it.</summary>
    LoseRequest,

    /// <summary>The broker gets a part of it, then the connection breaks.</summary>
    CutRequest,

    /// <summary>The broker gets it and answers; the connection breaks before the client has the answer.</summary>
    LoseAnswer,

    /// <summary>The answer comes after the client has given up.</summary>
    DelayAnswer,

    /// <summary>The broker gets the same bytes a second time, on a connection of its own, before the client's.</summary>
    SendTwice,

    /// <summary>The broker gets the same bytes again when others have followed: the network had kept them.</summary>
    SendAgainLater,
}

/// <summary>
/// A TCP proxy before a broker that spoils requests of some APIs: what a bad network, or one that is being repaired,
/// does. It knows where a request ends, and its API; nothing else of the protocol. The broker must advertise the proxy's
/// port, or clients find their way around it.
/// </summary>
public sealed class BadNetwork : IAsyncDisposable
{
    private const int LaterBy = 8;
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentBag<Task> _tasks = [];
    private readonly ConcurrentDictionary<NetworkFault, int> _done = new();
    private readonly Queue<(long Due, byte[] Frame)> _later = new();
    private readonly Lock _choosing = new();
    private readonly Random _random;
    private readonly HashSet<short> _apis;
    private readonly TimeSpan _delay;
    private int _brokerPort;
    private long _requests;

    /// <summary>Listens; connections are served from <see cref="Connect"/> on.</summary>
    /// <param name="seed">Of the random choice of faults.</param>
    /// <param name="delay">How long a delayed answer takes: longer than the client waits.</param>
    /// <param name="apis">The keys of the APIs whose requests are spoilt; all others pass.</param>
    public BadNetwork(int seed, TimeSpan delay, params short[] apis)
    {
        (_random, _delay, _apis) = (new Random(seed), delay, [.. apis]);
        _listener.Start();
    }

    /// <summary>The port that the broker is to advertise.</summary>
    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    /// <summary>How many requests of a hundred are spoilt; 0 lets everything pass.</summary>
    public int FaultPercent { get; set; }

    /// <summary>The faults that are made; all of them unless set.</summary>
    public IReadOnlyList<NetworkFault> Faults { get; init; } = Enum.GetValues<NetworkFault>()[1..];

    /// <summary>How often each fault was made.</summary>
    public IReadOnlyDictionary<NetworkFault, int> Done => _done;

    /// <summary>Begins to serve connections.</summary>
    /// <param name="brokerPort">Where the broker listens.</param>
    public void Connect(int brokerPort)
    {
        _brokerPort = brokerPort;
        _tasks.Add(Task.Run(AcceptAsync));
    }

    /// <summary>Breaks all connections and ends.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Stop();
        await Task.WhenAll(_tasks);
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                var client = await _listener.AcceptSocketAsync(_stop.Token);
                _tasks.Add(Task.Run(() => ServeAsync(client)));
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The end.
        }
    }

    private async Task ServeAsync(Socket client)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
        using var broker = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        using var _ = client;
        try
        {
            (client.NoDelay, broker.NoDelay) = (true, true);
            await broker.ConnectAsync(IPAddress.Loopback, _brokerPort, stop.Token);
            var answers = new ConcurrentQueue<NetworkFault>();
            await await Task.WhenAny(
                RequestsAsync(client, broker, answers, stop.Token), AnswersAsync(broker, client, answers, stop.Token));
        }
        catch (Exception e) when (e is SocketException or IOException or OperationCanceledException)
        {
            // One of them has closed the connection, or a fault was to.
        }

        await stop.CancelAsync();
    }

    private async Task RequestsAsync(
        Socket client, Socket broker, ConcurrentQueue<NetworkFault> answers, CancellationToken stop)
    {
        while (true)
        {
            var frame = await FrameAsync(client, stop);
            var fault = Choose(frame, out var late);
            if (late is not null)
                _tasks.Add(Task.Run(() => AloneAsync(late), CancellationToken.None));
            switch (fault)
            {
                case NetworkFault.LoseRequest:
                    return;
                case NetworkFault.CutRequest:
                    await SendAsync(broker, frame.AsMemory(0, frame.Length / 2), stop);
                    return;
                case NetworkFault.SendTwice:
                    await AloneAsync(frame);
                    break;
            }

            answers.Enqueue(fault);
            await SendAsync(broker, frame, stop);
        }
    }

    private async Task AnswersAsync(
        Socket broker, Socket client, ConcurrentQueue<NetworkFault> answers, CancellationToken stop)
    {
        while (true)
        {
            var frame = await FrameAsync(broker, stop);
            answers.TryDequeue(out var fault);
            if (fault is NetworkFault.LoseAnswer)
                return;
            if (fault is NetworkFault.DelayAnswer)
                await Task.Delay(_delay, stop);
            await SendAsync(client, frame, stop);
        }
    }

    /// <summary>Sends a request on a connection of its own, and waits for the answer, which nobody gets.</summary>
    private async Task AloneAsync(byte[] frame)
    {
        try
        {
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            await socket.ConnectAsync(IPAddress.Loopback, _brokerPort, _stop.Token);
            await SendAsync(socket, frame, _stop.Token);
            await FrameAsync(socket, _stop.Token);
        }
        catch (Exception e) when (e is SocketException or IOException or OperationCanceledException)
        {
            // Then it was lost.
        }
    }

    private NetworkFault Choose(byte[] frame, out byte[]? late)
    {
        late = null;
        if (!_apis.Contains(BinaryPrimitives.ReadInt16BigEndian(frame.AsSpan(4))))
            return NetworkFault.None;
        lock (_choosing)
        {
            _requests++;
            if (_later.TryPeek(out var first) && first.Due <= _requests)
                late = _later.Dequeue().Frame;
            if (_random.Next(100) >= FaultPercent)
                return NetworkFault.None;
            var fault = Faults[_random.Next(Faults.Count)];
            if (fault is NetworkFault.SendAgainLater)
                _later.Enqueue((_requests + LaterBy, frame));
            _done.AddOrUpdate(fault, 1, static (_, count) => count + 1);
            return fault;
        }
    }

    /// <summary>One request or answer with its length before it.</summary>
    private static async Task<byte[]> FrameAsync(Socket socket, CancellationToken stop)
    {
        var length = new byte[4];
        await ExactlyAsync(socket, length, stop);
        var frame = new byte[4 + BinaryPrimitives.ReadInt32BigEndian(length)];
        length.CopyTo(frame, 0);
        await ExactlyAsync(socket, frame.AsMemory(4), stop);
        return frame;
    }

    private static async Task ExactlyAsync(Socket socket, Memory<byte> buffer, CancellationToken stop)
    {
        while (buffer.Length > 0)
        {
            var got = await socket.ReceiveAsync(buffer, stop);
            if (got == 0)
                throw new IOException("the connection was closed");
            buffer = buffer[got..];
        }
    }

    private static async Task SendAsync(Socket socket, ReadOnlyMemory<byte> bytes, CancellationToken stop)
    {
        while (bytes.Length > 0)
            bytes = bytes[await socket.SendAsync(bytes, stop)..];
    }
}
