using KBroker.Protocol;
using KBroker.Protocol.Messages;
using Microsoft.Extensions.Logging;

namespace KBroker.Server.Dispatch;

/// <summary>
/// Reads request headers and finds handlers. A request that no handler may see (unknown API, version not served,
/// truncated header) closes its connection; only ApiVersions answers unknown versions (KIP-511), so that a newer
/// client learns what is served.
/// </summary>
/// <remarks>
/// Header: int16 API key, int16 version, int32 correlation id, client id (int16 length, -1 for null, UTF-8), and, for
/// flexible versions, tagged fields, which are skipped.
/// </remarks>
public sealed class RequestDispatcher : IRequestDispatcher
{
    private const int FixedHeaderBytes = 8;

    private readonly ApiTable _table;
    private readonly ILogger _log;

    /// <summary>Creates a dispatcher.</summary>
    /// <param name="table">The handlers.</param>
    /// <param name="log">Where failures of handlers go.</param>
    public RequestDispatcher(ApiTable table, ILogger<RequestDispatcher> log)
    {
        _table = table;
        _log = log;
    }

    /// <inheritdoc/>
    public ValueTask<IResponseMessage?> Dispatch(RequestContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        var frame = context.Body;
        if (frame.Length < FixedHeaderBytes)
            throw new InvalidRequestException($"a request of {frame.Length} bytes is shorter than a request header");
        var reader = new ProtocolReader(frame);
        var key = reader.ReadInt16();
        context.ApiKey = (ApiKey)key;
        context.ApiVersion = reader.ReadInt16();
        context.CorrelationId = reader.ReadInt32();
        var listener = context.Session.IsControllerListener ? ApiListeners.Controller : ApiListeners.Broker;
        var entry = _table.Find(key, listener)
            ?? throw new InvalidRequestException($"request for API key {key}, which this listener does not serve");
        context.Api = entry;
        if (!entry.Supports(context.ApiVersion))
            return RefuseVersion(context, entry);
        try
        {
            ReadClientId(ref reader, context, frame);
            if (entry.Info.RequestHeaderVersion(context.ApiVersion) >= 2)
                reader.ReadUnknownTaggedFields();
        }
        catch (ProtocolException e)
        {
            throw new InvalidRequestException($"malformed header of a {entry.Info.Name} request: {e.Message}", e);
        }
        context.Body = frame.Slice(reader.Consumed);
        context.ResponseVersion = context.ApiVersion;
        context.ResponseHeaderVersion = entry.Info.ResponseHeaderVersion(context.ApiVersion);
        context.ServedApis = _table.Served(listener);
        context.RunsAlone = entry.Handler.RunsAlone;
        return entry.Handler.HandleAsync(context);
    }

    /// <inheritdoc/>
    public IResponseMessage? Fail(RequestContext context, Exception exception)
    {
        ArgumentNullException.ThrowIfNull(context);
        var handler = context.Api?.Handler;
        if (exception is RequestFailedException failed)
            return handler?.CreateErrorResponse(context, failed.Error, failed.ClientMessage);
        if (exception is not OperationCanceledException || !context.Closing.IsCancellationRequested)
        {
            _log.LogError(exception, "{Api} version {Version} of client {ClientId} at {Client} failed",
                context.ApiKey, context.ApiVersion, context.ClientId, context.Session.RemoteEndPoint);
        }
        return handler?.CreateErrorResponse(context, ErrorCode.UnknownServerError, null);
    }

    private static ValueTask<IResponseMessage?> RefuseVersion(RequestContext context, ApiEntry entry)
    {
        if (context.ApiKey != ApiKey.ApiVersions)
        {
            throw new InvalidRequestException(
                $"{entry.Info.Name} request version {context.ApiVersion}; served are {entry.Info.LowestVersion} to "
                + $"{entry.HighestVersion}");
        }
        var response = new ApiVersionsResponse { ErrorCode = ErrorCode.UnsupportedVersion };
        response.ApiKeys.Add(new ApiVersionsResponse.ApiVersion
        {
            ApiKey = (short)ApiKey.ApiVersions,
            MinVersion = entry.Info.LowestVersion,
            MaxVersion = entry.HighestVersion,
        });
        context.ResponseVersion = 0;
        context.ResponseHeaderVersion = 0;
        return new ValueTask<IResponseMessage?>(response);
    }

    private static void ReadClientId(
        ref ProtocolReader reader, RequestContext context, in System.Buffers.ReadOnlySequence<byte> frame)
    {
        var length = reader.ReadInt16();
        if (length < 0)
            return;
        var start = reader.Consumed;
        reader.Skip(length);
        context.ClientId = context.Session.InternClientId(frame.Slice(start, length));
    }
}
