using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;

namespace KBroker.Server.Handlers;

/// <summary>
/// FindCoordinator: which broker coordinates a group or a transactional id. There is no coordinator yet, so every key
/// is answered with COORDINATOR_NOT_AVAILABLE, as Kafka answers while its internal topics have no leader; clients ask
/// again.
/// </summary>
/// <remarks>
/// It is served before there are coordinators because librdkafka takes the presence of this API (version 0) as the sign
/// of a broker that knows LZ4: without it, producers that were told to use LZ4 send uncompressed batches. Up to
/// version 3 one key is asked for and answered at the top; from 4 on a list of keys.
/// </remarks>
public sealed class FindCoordinatorHandler : RequestHandler<FindCoordinatorRequest, FindCoordinatorResponse>
{
    private const sbyte HighestKeyType = 2;
    private const string Reason = "The coordinator is not available.";

    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.FindCoordinator;

    /// <inheritdoc/>
    protected override ValueTask<IResponseMessage?> HandleAsync(FindCoordinatorRequest request, RequestContext context)
    {
        var (error, message) = request.KeyType is >= 0 and <= HighestKeyType
            ? (ErrorCode.CoordinatorNotAvailable, Reason)
            : (ErrorCode.InvalidRequest, $"There is no coordinator type {request.KeyType}");
        var response = new FindCoordinatorResponse();
        if (context.ApiVersion < 4)
        {
            response.ErrorCode = error;
            response.ErrorMessage = message;
            response.NodeId = -1;
            response.Port = -1;
        }
        else
        {
            foreach (var key in request.CoordinatorKeys)
                response.Coordinators.Add(new()
                {
                    Key = key,
                    ErrorCode = error,
                    ErrorMessage = message,
                    NodeId = -1,
                    Port = -1,
                });
        }

        return ValueTask.FromResult<IResponseMessage?>(response);
    }
}
