using KBroker.Cluster.Metadata;
using KBroker.Cluster.Replication;
using KBroker.Coordination.Groups;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Produce;
using KBroker.Server.Security;
using KBroker.Storage;

namespace KBroker.Server.Handlers;

/// <summary>
/// TxnOffsetCommit: commits a group's offsets as part of a producer's transaction. They hold when it commits; until
/// then OffsetFetch that asks for stable offsets is told UNSTABLE_OFFSET_COMMIT.
/// </summary>
/// <remarks>
/// The transaction coordinator is asked before the transaction's first offsets are written (KIP-890); from version 5 on
/// it adds the group's partition thereby, before that AddOffsetsToTxn has. Up to version 1 clients do not know
/// COORDINATOR_LOAD_IN_PROGRESS and are told COORDINATOR_NOT_AVAILABLE.
/// </remarks>
/// <param name="groups">The group coordinator.</param>
/// <param name="partitions">The partitions of this broker.</param>
/// <param name="verifier">Asks the transaction coordinator.</param>
/// <param name="metadata">Which topics there are.</param>
/// <param name="authorizer">Decides who may use the transactional id, the group and the topics.</param>
public sealed class TxnOffsetCommitHandler(
    GroupCoordinator groups,
    PartitionRegistry partitions,
    TransactionVerifier verifier,
    IMetadataLog metadata,
    IAuthorizer authorizer)
    : RequestHandler<TxnOffsetCommitRequest, TxnOffsetCommitResponse>
{
    private const short FirstThatAdds = 5;
    private const short FirstWithAbortable = 4;
    private const short FirstWithLoading = 2;

    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.TxnOffsetCommit;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        TxnOffsetCommitRequest request, RequestContext context)
    {
        if (!authorizer.TransactionalId(context, AclOperation.Write, request.TransactionalId))
            throw new RequestFailedException(ErrorCode.TransactionalIdAuthorizationFailed);
        if (!authorizer.Authorize(context, AclOperation.Read, AclResourceType.Group, request.GroupId))
            throw new RequestFailedException(ErrorCode.GroupAuthorizationFailed);
        var refused = new TxnOffsetCommitResponse();
        var valid = Select(request, refused, context);
        if (valid.Count == 0)
            return refused;
        var version = context.ApiVersion;
        TxnOffsetCommitResponse response;
        try
        {
            response = await CommitAsync(
                new GroupRequest<TxnOffsetCommitRequest>(
                    WithTopics(request, valid), version, GroupClients.Of(context))).ConfigureAwait(false);
        }
        catch (CoordinatorException failed)
        {
            response = new TxnOffsetCommitResponse();
            var error = failed.Error == ErrorCode.CoordinatorLoadInProgress && version < FirstWithLoading
                ? ErrorCode.CoordinatorNotAvailable
                : failed.Error;
            response.Topics.AddRange(valid.Select(topic => Failed(topic, _ => error)));
        }

        foreach (var topic in refused.Topics)
        {
            if (response.Topics.Find(t => t.Name == topic.Name) is { } known)
                known.Partitions.AddRange(topic.Partitions);
            else
                response.Topics.Add(topic);
        }

        return response;
    }

    /// <inheritdoc/>
    public override IResponseMessage CreateErrorResponse(RequestContext context, ErrorCode error, string? message)
    {
        var response = new TxnOffsetCommitResponse();
        foreach (var topic in RequestOf(context)?.Topics ?? [])
            response.Topics.Add(Failed(topic, _ => error));
        return response;
    }

    private static TxnOffsetCommitResponse.TxnOffsetCommitResponseTopic Failed(
        TxnOffsetCommitRequest.TxnOffsetCommitRequestTopic topic, Func<int, ErrorCode> errorOf) => new()
        {
            Name = topic.Name,
            Partitions = topic.Partitions.ConvertAll(
                partition => new TxnOffsetCommitResponse.TxnOffsetCommitResponsePartition
                {
                    PartitionIndex = partition.PartitionIndex,
                    ErrorCode = errorOf(partition.PartitionIndex),
                }),
        };

    private static TxnOffsetCommitRequest WithTopics(
        TxnOffsetCommitRequest request, List<TxnOffsetCommitRequest.TxnOffsetCommitRequestTopic> topics) => new()
        {
            TransactionalId = request.TransactionalId,
            GroupId = request.GroupId,
            ProducerId = request.ProducerId,
            ProducerEpoch = request.ProducerEpoch,
            GenerationId = request.GenerationId,
            MemberId = request.MemberId,
            GroupInstanceId = request.GroupInstanceId,
            Topics = topics,
        };

    /// <summary>The topics that the coordinator is asked to commit; what is unknown is answered here.</summary>
    private List<TxnOffsetCommitRequest.TxnOffsetCommitRequestTopic> Select(
        TxnOffsetCommitRequest request, TxnOffsetCommitResponse refused, RequestContext context)
    {
        var valid = new List<TxnOffsetCommitRequest.TxnOffsetCommitRequestTopic>(request.Topics.Count);
        foreach (var topic in request.Topics)
        {
            if (!authorizer.Topic(context, AclOperation.Read, topic.Name))
            {
                refused.Topics.Add(Failed(topic, static _ => ErrorCode.TopicAuthorizationFailed));
                continue;
            }

            var known = topic.Partitions.ToLookup(partition =>
                metadata.Image.Topics.FindPartition(topic.Name, partition.PartitionIndex) is not null);
            if (known[true].Any())
                valid.Add(new() { Name = topic.Name, Partitions = [.. known[true]] });
            if (known[false].Any())
            {
                refused.Topics.Add(Failed(
                    new() { Name = topic.Name, Partitions = [.. known[false]] },
                    static _ => ErrorCode.UnknownTopicOrPartition));
            }
        }

        return valid;
    }

    private async Task<TxnOffsetCommitResponse> CommitAsync(GroupRequest<TxnOffsetCommitRequest> request)
    {
        var message = request.Message;
        if (groups.PartitionOf(message.GroupId) is not { } index)
            throw new CoordinatorException(ErrorCode.NotCoordinator);
        var topicPartition = new TopicPartition(TopicNames.ConsumerOffsets, index);
        if (partitions.Find(topicPartition, out var partition) != ErrorCode.None)
            throw new CoordinatorException(ErrorCode.NotCoordinator);
        var adds = request.Version >= FirstThatAdds;
        TransactionVerification? verification = null;
        for (var asksLeft = TransactionVerifier.AsksMax; asksLeft > 0; asksLeft--)
        {
            var question = partition!.Log.BeginVerification(
                message.ProducerId, message.ProducerEpoch, sequence: 0, isEpochBumped: adds);
            if (question == verification)
                break;
            // A marker, that of the transaction before, makes the question void: then it is asked anew.
            verification = question;
            if (verification is null || !(adds || verifier.IsEnabled(0)))
                break;
            var errors = await verifier.RunAsync(
                message.TransactionalId, message.ProducerId, message.ProducerEpoch, [topicPartition], adds)
                .ConfigureAwait(false);
            if (errors[0] != ErrorCode.None)
                throw new CoordinatorException(ForProducer(errors[0], request.Version));
        }

        return await groups.Offsets.CommitAsync(request, verification).ConfigureAwait(false);
    }

    /// <summary>The coordinator's error as clients of TxnOffsetCommit understand it.</summary>
    private static ErrorCode ForProducer(ErrorCode error, short version) => error switch
    {
        ErrorCode.ProducerFenced => ErrorCode.InvalidProducerEpoch,
        ErrorCode.TransactionAbortable when version < FirstWithAbortable => ErrorCode.InvalidTxnState,
        ErrorCode.ConcurrentTransactions when version >= FirstThatAdds => error,
        ErrorCode.ConcurrentTransactions or ErrorCode.NotCoordinator or ErrorCode.CoordinatorNotAvailable =>
            ErrorCode.CoordinatorLoadInProgress,
        _ => error,
    };
}
