using System.Diagnostics.Metrics;
using KBroker.Server.Dispatch;

namespace KBroker.Server.Observability;

/// <summary>
/// Measurements of the network layer, as instruments of the meter <c>KBroker.Server</c>, named after Kafka's metrics.
/// Without a listener an instrument costs a branch.
/// </summary>
public sealed class ServerMetrics : IDisposable
{
    /// <summary>Name of the meter, for <c>dotnet-counters</c> and exporters.</summary>
    public const string MeterName = "KBroker.Server";

    private readonly TimeProvider _time;
    private readonly Meter _meter;
    private readonly Counter<long> _requests;
    private readonly Histogram<double> _totalTimeMs;
    private readonly Histogram<long> _requestBytes;
    private readonly Histogram<long> _responseBytes;
    private readonly Counter<long> _bytesIn;
    private readonly Counter<long> _bytesOut;
    private readonly Counter<long> _created;
    private readonly Counter<long> _closed;
    private readonly Counter<long> _rejected;
    private readonly UpDownCounter<long> _open;

    /// <summary>Creates the instruments of one broker.</summary>
    /// <param name="time">The clock of the request contexts.</param>
    public ServerMetrics(TimeProvider time)
    {
        _time = time;
        _meter = new Meter(MeterName);
        _requests = _meter.CreateCounter<long>("RequestsPerSec", "{request}", "Requests answered, by API");
        _totalTimeMs = _meter.CreateHistogram<double>("TotalTimeMs", "ms", "Arrival to answer written, by API");
        _requestBytes = _meter.CreateHistogram<long>("RequestBytes", "By", "Size of requests, by API");
        _responseBytes = _meter.CreateHistogram<long>("ResponseBytes", "By", "Size of answers, by API");
        _bytesIn = _meter.CreateCounter<long>("incoming-byte-total", "By", "Bytes received from clients");
        _bytesOut = _meter.CreateCounter<long>("outgoing-byte-total", "By", "Bytes sent to clients");
        _open = _meter.CreateUpDownCounter<long>("connection-count", "{connection}", "Open connections");
        _created = _meter.CreateCounter<long>("connection-creation-total", "{connection}", "Connections accepted");
        _closed = _meter.CreateCounter<long>("connection-close-total", "{connection}", "Connections closed");
        _rejected = _meter.CreateCounter<long>(
            "connection-rejected-total", "{connection}", "Connections turned away by max.connections.per.ip");
    }

    /// <inheritdoc/>
    public void Dispose() => _meter.Dispose();

    internal void RequestCompleted(RequestContext context, long responseBytes)
    {
        var tag = context.Api?.Tag ?? default;
        if (_requests.Enabled)
            _requests.Add(1, tag);
        if (_totalTimeMs.Enabled)
            _totalTimeMs.Record(_time.GetElapsedTime(context.ReceivedTimestamp).TotalMilliseconds, tag);
        if (_requestBytes.Enabled)
            _requestBytes.Record(context.SizeInBytes, tag);
        if (_responseBytes.Enabled)
            _responseBytes.Record(responseBytes, tag);
    }

    internal void BytesReceived(long bytes) => _bytesIn.Add(bytes);

    internal void BytesSent(long bytes) => _bytesOut.Add(bytes);

    internal void ConnectionOpened(KeyValuePair<string, object?> listener)
    {
        _created.Add(1, listener);
        _open.Add(1, listener);
    }

    internal void ConnectionClosed(KeyValuePair<string, object?> listener)
    {
        _closed.Add(1, listener);
        _open.Add(-1, listener);
    }

    internal void ConnectionRejected(KeyValuePair<string, object?> listener) => _rejected.Add(1, listener);
}
