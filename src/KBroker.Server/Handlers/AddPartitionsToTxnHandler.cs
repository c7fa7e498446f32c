using KBroker.Cluster.Metadata;
using KBroker.Coordination.Transactions;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;
using KBroker.Storage;

namespace KBroker.Server.Handlers;

/// <summary>
/// AddPartitionsToTxn: makes partitions part of a producer's transaction, or, for other brokers, says whether they are.
/// </summary>
/// <remarks>
/// Up to version 3 producers send it, for one transaction; from 4 on brokers do, for many (KIP-890). One partition that
/// cannot be added keeps all others of its transaction out, with OPERATION_NOT_ATTEMPTED. Up to version 1 a fenced
/// producer is told INVALID_PRODUCER_EPOCH.
/// </remarks>
/// <param name="transactions">The coordinator.</param>
/// <param name="metadata">Knows which partitions exist.</param>
/// <param name="authorizer">Decides who may use the transactional id and write to the topics.</param>
public sealed class AddPartitionsToTxnHandler(
    TransactionApi transactions, IMetadataLog metadata, IAuthorizer authorizer)
    : RequestHandler<AddPartitionsToTxnRequest, AddPartitionsToTxnResponse>
{
    private const short FirstWithFenced = 2;
    private const short FirstOfBrokers = 4;

    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.AddPartitionsToTxn;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        AddPartitionsToTxnRequest request, RequestContext context)
    {
        var response = new AddPartitionsToTxnResponse();
        if (context.ApiVersion < FirstOfBrokers)
        {
            var transaction = new AddPartitionsToTxnRequest.AddPartitionsToTxnTransaction
            {
                TransactionalId = request.V3AndBelowTransactionalId,
                ProducerId = request.V3AndBelowProducerId,
                ProducerEpoch = request.V3AndBelowProducerEpoch,
                Topics = request.V3AndBelowTopics,
            };
            response.ResultsByTopicV3AndBelow = await AddAsync(transaction, context).ConfigureAwait(false);
            return response;
        }

        if (!authorizer.Cluster(context, AclOperation.ClusterAction))
            return new AddPartitionsToTxnResponse { ErrorCode = ErrorCode.ClusterAuthorizationFailed };
        foreach (var transaction in request.Transactions)
        {
            response.ResultsByTransaction.Add(new AddPartitionsToTxnResponse.AddPartitionsToTxnResult
            {
                TransactionalId = transaction.TransactionalId,
                TopicResults = await AddAsync(transaction, context).ConfigureAwait(false),
            });
        }

        return response;
    }

    /// <inheritdoc/>
    public override IResponseMessage? CreateErrorResponse(RequestContext context, ErrorCode error, string? message)
    {
        if (RequestOf(context) is not { } request || context.ApiVersion >= FirstOfBrokers)
            return new AddPartitionsToTxnResponse { ErrorCode = error };
        return new AddPartitionsToTxnResponse
        {
            ResultsByTopicV3AndBelow = Results(request.V3AndBelowTopics, _ => error),
        };
    }

    private async Task<List<AddPartitionsToTxnResponse.AddPartitionsToTxnTopicResult>> AddAsync(
        AddPartitionsToTxnRequest.AddPartitionsToTxnTransaction transaction, RequestContext context)
    {
        if (!authorizer.TransactionalId(context, AclOperation.Write, transaction.TransactionalId))
            return Results(transaction.Topics, static _ => ErrorCode.TransactionalIdAuthorizationFailed);
        var partitions = transaction.Topics
            .SelectMany(static topic => topic.Partitions.Select(p => new TopicPartition(topic.Name, p)))
            .ToList();
        var refused = new Dictionary<TopicPartition, ErrorCode>();
        foreach (var partition in partitions)
        {
            // What a broker asks for was authorised when it came from its client.
            if (context.ApiVersion < FirstOfBrokers
                && !authorizer.Topic(context, AclOperation.Write, partition.Topic))
                refused[partition] = ErrorCode.TopicAuthorizationFailed;
            else if (metadata.Image.Topics.FindPartition(partition.Topic, partition.Partition) is null)
                refused[partition] = ErrorCode.UnknownTopicOrPartition;
        }

        if (refused.Count > 0)
        {
            return Results(
                transaction.Topics, p => refused.GetValueOrDefault(p, ErrorCode.OperationNotAttempted));
        }

        var errors = new Dictionary<TopicPartition, ErrorCode>();
        if (transaction.VerifyOnly)
        {
            var verified = await transactions.VerifyAsync(
                transaction.TransactionalId, transaction.ProducerId, transaction.ProducerEpoch, partitions)
                .ConfigureAwait(false);
            for (var i = 0; i < partitions.Count; i++)
                errors[partitions[i]] = verified[i];
            return Results(transaction.Topics, p => errors[p]);
        }

        var error = await transactions.AddPartitionsAsync(
            transaction.TransactionalId,
            transaction.ProducerId,
            transaction.ProducerEpoch,
            partitions,
            isEpochBumped: context.ApiVersion >= FirstOfBrokers).ConfigureAwait(false);
        if (context.ApiVersion < FirstWithFenced && error == ErrorCode.ProducerFenced)
            error = ErrorCode.InvalidProducerEpoch;
        return Results(transaction.Topics, _ => error);
    }

    private static List<AddPartitionsToTxnResponse.AddPartitionsToTxnTopicResult> Results(
        IEnumerable<AddPartitionsToTxnRequest.AddPartitionsToTxnTopic> topics,
        Func<TopicPartition, ErrorCode> errorOf) =>
        [.. topics.Select(topic => new AddPartitionsToTxnResponse.AddPartitionsToTxnTopicResult
        {
            Name = topic.Name,
            ResultsByPartition =
            [
                .. topic.Partitions.Select(p => new AddPartitionsToTxnResponse.AddPartitionsToTxnPartitionResult
                {
                    PartitionIndex = p,
                    PartitionErrorCode = errorOf(new TopicPartition(topic.Name, p)),
                }),
            ],
        })];
}
