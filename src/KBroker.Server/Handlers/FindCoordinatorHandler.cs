using KBroker.Cluster.Metadata;
using KBroker.Coordination.Groups;
using KBroker.Coordination.Transactions;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;
using KBroker.Server.Topics;

namespace KBroker.Server.Handlers;

/// <summary>
/// FindCoordinator: which broker coordinates a group, a transactional id or a share partition. For groups it is the
/// leader of the group's partition of <c>__consumer_offsets</c>, for transactional ids that of the id's partition of
/// <c>__transaction_state</c>; the topic is created when the first client asks.
/// </summary>
/// <remarks>
/// Up to version 3 one key is asked for and answered at the top; from 4 on a list of keys. Share partitions may be
/// asked for from version 6 on. There is no coordinator of share groups yet: their keys are answered with
/// COORDINATOR_NOT_AVAILABLE, as Kafka answers while an internal topic has no leader, and clients ask again.
/// (librdkafka takes the presence of this API as the sign of a broker that knows LZ4.)
/// </remarks>
/// <param name="metadata">The metadata as this broker knows it.</param>
/// <param name="groups">Knows the partitions of groups.</param>
/// <param name="transactions">Knows the partitions of transactional ids.</param>
/// <param name="creator">Creates the internal topic.</param>
/// <param name="authorizer">Decides who may know.</param>
public sealed class FindCoordinatorHandler(
    IMetadataLog metadata,
    GroupCoordinator groups,
    TransactionCoordinator transactions,
    AutoTopicCreator creator,
    IAuthorizer authorizer)
    : RequestHandler<FindCoordinatorRequest, FindCoordinatorResponse>
{
    private const sbyte GroupKey = 0;
    private const sbyte TransactionKey = 1;
    private const sbyte ShareKey = 2;
    private const short FirstVersionWithShares = 6;
    private static readonly Answer NotAvailable = new(ErrorCode.CoordinatorNotAvailable);

    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.FindCoordinator;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        FindCoordinatorRequest request, RequestContext context)
    {
        if (request.KeyType is < GroupKey or > ShareKey)
        {
            throw new RequestFailedException(
                ErrorCode.InvalidRequest, $"Unknown coordinator type received: {request.KeyType}");
        }

        var topic = request.KeyType switch
        {
            GroupKey => TopicNames.ConsumerOffsets,
            TransactionKey => TopicNames.TransactionState,
            _ => null,
        };
        if (topic is not null && metadata.Image.Topics.Find(topic) is null)
            await creator.CreateAsync([topic]).ConfigureAwait(false);
        var response = new FindCoordinatorResponse();
        if (context.ApiVersion < 4)
        {
            var answer = Find(request.KeyType, request.Key, context);
            response.ErrorCode = answer.Error;
            response.ErrorMessage = MessageOf(answer.Error);
            response.NodeId = answer.NodeId;
            response.Host = answer.Host;
            response.Port = answer.Port;
            return response;
        }

        foreach (var key in request.CoordinatorKeys)
        {
            var answer = Find(request.KeyType, key, context);
            response.Coordinators.Add(new FindCoordinatorResponse.Coordinator
            {
                Key = key,
                ErrorCode = answer.Error,
                NodeId = answer.NodeId,
                Host = answer.Host,
                Port = answer.Port,
            });
        }

        return response;
    }

    /// <inheritdoc/>
    public override IResponseMessage CreateErrorResponse(RequestContext context, ErrorCode error, string? message)
    {
        var response = new FindCoordinatorResponse();
        if (context.ApiVersion < 4)
        {
            (response.ErrorCode, response.ErrorMessage, response.NodeId, response.Port) = (error, message, -1, -1);
            return response;
        }

        foreach (var key in RequestOf(context)?.CoordinatorKeys ?? [])
        {
            response.Coordinators.Add(new FindCoordinatorResponse.Coordinator
            {
                Key = key,
                ErrorCode = error,
                ErrorMessage = message,
                NodeId = -1,
                Port = -1,
            });
        }

        return response;
    }

    /// <summary>What Kafka puts beside the code, also where there is no error.</summary>
    private static string MessageOf(ErrorCode error) => error switch
    {
        ErrorCode.CoordinatorNotAvailable => "The coordinator is not available.",
        ErrorCode.GroupAuthorizationFailed => "Group authorization failed.",
        ErrorCode.TransactionalIdAuthorizationFailed => "Transactional Id authorization failed.",
        _ => ErrorCodes.Name(error),
    };

    private Answer Find(sbyte keyType, string key, RequestContext context)
    {
        switch (keyType)
        {
            case GroupKey:
                return authorizer.Authorize(context, AclOperation.Describe, AclResourceType.Group, key)
                    ? FindLeader(TopicNames.ConsumerOffsets, groups.PartitionOf(key), context)
                    : new Answer(ErrorCode.GroupAuthorizationFailed);
            case TransactionKey:
                return authorizer.Authorize(context, AclOperation.Describe, AclResourceType.TransactionalId, key)
                    ? FindLeader(TopicNames.TransactionState, transactions.PartitionOf(key), context)
                    : new Answer(ErrorCode.TransactionalIdAuthorizationFailed);
            default:
                if (context.ApiVersion < FirstVersionWithShares)
                    return new Answer(ErrorCode.InvalidRequest);
                if (!authorizer.Cluster(context, AclOperation.ClusterAction))
                    return new Answer(ErrorCode.ClusterAuthorizationFailed);
                return IsSharePartition(key) ? NotAvailable : new Answer(ErrorCode.InvalidRequest);
        }
    }

    private Answer FindLeader(string topic, int? coordinatedBy, RequestContext context)
    {
        var image = metadata.Image;
        if (coordinatedBy is not { } index || image.Topics.FindPartition(topic, index) is not { } partition
            || !image.Brokers.TryGetValue(partition.Leader, out var leader) || leader.Fenced
            || leader.Endpoint(context.ListenerName) is not { } endpoint)
            return NotAvailable;
        return new Answer(ErrorCode.None, leader.Id, endpoint.Host, endpoint.Port);
    }

    /// <summary>Whether a key is <c>group:topic id:partition</c>.</summary>
    private static bool IsSharePartition(string key)
    {
        var parts = key.Split(':');
        return parts.Length == 3 && parts[0].Length > 0 && Uuid.TryParse(parts[1], out _)
            && int.TryParse(parts[2], out var partition) && partition >= 0;
    }

    private readonly record struct Answer(ErrorCode Error, int NodeId = -1, string Host = "", int Port = -1);
}
