using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Net;
using KBroker.Server.Net.Listeners;
using KBroker.Server.Observability;
using Microsoft.Extensions.Logging;

namespace KBroker.Server.Tests.Net;

/// <summary>A real network server on an ephemeral port, with handlers that the test writes.</summary>
internal sealed class TestNetwork : IAsyncDisposable
{
    private readonly ServerMetrics _metrics;

    public TestNetwork(
        IEnumerable<IRequestHandler> handlers, Func<NetworkOptions, NetworkOptions>? configure = null,
        TimeProvider? time = null, ListenerSettings? listeners = null)
    {
        time ??= TimeProvider.System;
        _metrics = new ServerMetrics(time);
        var options = new NetworkOptions
        {
            Listeners = ListenerConfiguration.Parse(
                listeners ?? new ListenerSettings { Listeners = "PLAINTEXT://127.0.0.1:0" }),
        };
        Server = new NetworkServer(
            configure?.Invoke(options) ?? options,
            new RequestDispatcher(new ApiTable(handlers), Log.For<RequestDispatcher>()),
            _metrics, time, Log.For<NetworkServer>());
        Server.Bind();
        Server.Start();
    }

    public NetworkServer Server { get; }

    public CapturedLog Log { get; } = new();

    public TestClient Connect(string listener = "PLAINTEXT", int receiveBufferBytes = 0) =>
        new(Server.BoundPort(listener), receiveBufferBytes);

    public async ValueTask DisposeAsync()
    {
        await Server.DisposeAsync();
        _metrics.Dispose();
    }

    /// <summary>Waits for a condition, with a deadline that only a broken program reaches.</summary>
    public static async Task Eventually(Func<bool> condition, string what)
    {
        var deadline = DateTime.UtcNow.AddSeconds(30);
        while (!condition())
        {
            Assert.True(DateTime.UtcNow < deadline, $"waited in vain: {what}");
            await Task.Delay(5);
        }
    }
}

/// <summary>Log lines, for assertions.</summary>
internal sealed class CapturedLog
{
    private readonly ConcurrentQueue<string> _lines = new();

    public IReadOnlyCollection<string> Lines => _lines;

    public ILogger<T> For<T>() => new Logger<T>(_lines);

    private sealed class Logger<T>(ConcurrentQueue<string> lines) : ILogger<T>
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Debug;

        public void Log<TState>(
            LogLevel logLevel, EventId eventId, TState state, Exception? exception,
            Func<TState, Exception?, string> formatter)
        {
            if (IsEnabled(logLevel))
                lines.Enqueue($"{logLevel}: {formatter(state, exception)} {exception?.Message}");
        }
    }
}

/// <summary>A handler made of a function.</summary>
internal sealed class TestHandler<TRequest, TResponse>(
    ApiKey key, Func<TRequest, RequestContext, ValueTask<IResponseMessage?>> handle, bool runsAlone = false)
    : RequestHandler<TRequest, TResponse>
    where TRequest : class, IRequestMessage, IMessage<TRequest>
    where TResponse : class, IResponseMessage, new()
{
    public override ApiKey ApiKey => key;

    public override bool RunsAlone => runsAlone;

    protected override ValueTask<IResponseMessage?> HandleAsync(TRequest request, RequestContext context) =>
        handle(request, context);
}

/// <summary>Heartbeat as an echo: the generation goes out, and comes back as the throttle time.</summary>
internal static class Echo
{
    public static IRequestHandler Handler { get; } = On((request, _) => new(Answer(request.GenerationId)));

    public static IRequestHandler On(
        Func<HeartbeatRequest, RequestContext, ValueTask<IResponseMessage?>> handle, bool runsAlone = false) =>
        new TestHandler<HeartbeatRequest, HeartbeatResponse>(ApiKey.Heartbeat, handle, runsAlone);

    public static HeartbeatResponse Answer(int number) => new() { ThrottleTimeMs = number };

    public static HeartbeatRequest Request(int number, string text = "") =>
        new() { GenerationId = number, GroupId = text, MemberId = "m" };
}

/// <summary>A blocking client that speaks frames.</summary>
internal sealed class TestClient : IDisposable
{
    public const short EchoVersion = 4;

    public TestClient(int port, int receiveBufferBytes = 0)
    {
        Socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        if (receiveBufferBytes > 0)
            Socket.ReceiveBufferSize = receiveBufferBytes;
        Socket.ReceiveTimeout = 30_000;
        Socket.SendTimeout = 30_000;
        Socket.Connect(IPAddress.Loopback, port);
    }

    public Socket Socket { get; }

    public static byte[] Frame(IRequestMessage request, short version, int correlationId, string? clientId = "test")
    {
        using var writer = new ProtocolWriter();
        var size = writer.Reserve();
        writer.WriteInt16((short)request.ApiKey);
        writer.WriteInt16(version);
        writer.WriteInt32(correlationId);
        writer.WriteNullableString(clientId, flexible: false);
        if (ApiCatalog.Get(request.ApiKey).RequestHeaderVersion(version) >= 2)
            writer.WriteInt8(0);
        request.Write(writer, version);
        ProtocolWriter.PatchInt32(size, (int)writer.TotalBytes - 4);
        return writer.ToArray();
    }

    public void Send(IRequestMessage request, short version, int correlationId) =>
        SendRaw(Frame(request, version, correlationId));

    public void SendEcho(int number, string text = "") => Send(Echo.Request(number, text), EchoVersion, number);

    public void SendRaw(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
            bytes = bytes[Socket.Send(bytes)..];
    }

    /// <summary>The next answer without its size; null at the end of the stream.</summary>
    public byte[]? Receive()
    {
        var size = new byte[4];
        if (!Fill(size))
            return null;
        var body = new byte[BinaryPrimitives.ReadInt32BigEndian(size)];
        Assert.True(Fill(body), "the stream ended inside a frame");
        return body;
    }

    /// <summary>Reads an echo; its number is both correlation id and content.</summary>
    public int ReceiveEcho()
    {
        var (correlationId, response) = Receive<HeartbeatResponse>(EchoVersion);
        Assert.Equal(correlationId, response.ThrottleTimeMs);
        return correlationId;
    }

    public (int CorrelationId, TResponse Response) Receive<TResponse>(short version)
        where TResponse : IResponseMessage, IMessage<TResponse>, new()
    {
        var body = Receive() ?? throw new EndOfStreamException("the broker closed the connection");
        var reader = new ProtocolReader(body.AsMemory());
        var correlationId = reader.ReadInt32();
        if (ApiCatalog.Get(new TResponse().ApiKey).ResponseHeaderVersion(version) >= 1)
            reader.ReadUnknownTaggedFields();
        var response = TResponse.Read(ref reader, version);
        reader.EnsureEnd();
        return (correlationId, response);
    }

    public bool IsClosedByBroker()
    {
        try
        {
            return Socket.Receive(new byte[1]) == 0;
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionReset)
        {
            return true;
        }
    }

    public void Dispose() => Socket.Dispose();

    private bool Fill(Span<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            int count;
            try
            {
                count = Socket.Receive(bytes);
            }
            catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionReset)
            {
                return false;
            }
            if (count == 0)
                return false;
            bytes = bytes[count..];
        }
        return true;
    }
}

/// <summary>A clock that the test moves.</summary>
internal sealed class ManualTime : TimeProvider
{
    private readonly Lock _lock = new();
    private readonly List<ManualTimer> _timers = [];
    private long _now = TimeSpan.TicksPerDay;

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override long GetTimestamp() => Interlocked.Read(ref _now);

    public override DateTimeOffset GetUtcNow() => new(GetTimestamp(), TimeSpan.Zero);

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new ManualTimer(this, callback, state);
        timer.Change(dueTime, period);
        lock (_lock)
            _timers.Add(timer);
        return timer;
    }

    public void Advance(TimeSpan by)
    {
        var now = Interlocked.Add(ref _now, by.Ticks);
        ManualTimer[] due;
        lock (_lock)
            due = _timers.Where(t => t.IsDue(now)).ToArray();
        foreach (var timer in due)
            timer.Fire(now);
    }

    private sealed class ManualTimer(ManualTime time, TimerCallback callback, object? state) : ITimer
    {
        private long _due = long.MaxValue;
        private TimeSpan _period;

        public bool IsDue(long now) => Interlocked.Read(ref _due) <= now;

        public void Fire(long now)
        {
            Interlocked.Exchange(ref _due, _period > TimeSpan.Zero ? now + _period.Ticks : long.MaxValue);
            callback(state);
        }

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            _period = period;
            Interlocked.Exchange(
                ref _due, dueTime == Timeout.InfiniteTimeSpan ? long.MaxValue : time.GetTimestamp() + dueTime.Ticks);
            return true;
        }

        public void Dispose() => Interlocked.Exchange(ref _due, long.MaxValue);

        public ValueTask DisposeAsync()
        {
            Dispose();
            return default;
        }
    }
}
