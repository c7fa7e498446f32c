using System.Buffers;
using KBroker.Cluster.Metadata;
using KBroker.Cluster.Replication;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;
using KBroker.Server.Dispatch;
using KBroker.Server.Produce;
using KBroker.Server.Security;
using KBroker.Storage;

namespace KBroker.Server.Handlers;

/// <summary>
/// Produce: appends one record batch to each partition named. Its ordered half validates and appends; its background
/// half, for acks=all, waits for the high watermark and for stable storage.
/// </summary>
/// <remarks>
/// acks=0 has no answer: an error closes the connection, which is how the client learns to ask for new metadata.
/// From version 13 on topics go by id. Transactional batches are refused with INVALID_TXN_STATE: there is no
/// transaction coordinator yet.
/// </remarks>
/// <param name="partitions">The partitions of this broker.</param>
/// <param name="metadata">The metadata, for topic ids and for where the leader is.</param>
/// <param name="waiter">Waits for acks=all.</param>
/// <param name="authorizer">Decides who may write.</param>
public sealed class ProduceHandler(
    PartitionRegistry partitions, IMetadataLog metadata, AcknowledgementWaiter waiter, IAuthorizer authorizer)
    : RequestHandler<ProduceRequest, ProduceResponse>
{
    /// <summary>The client id with which Kafka's own tools may write to internal topics.</summary>
    private const string AdminClientId = "__admin_client";

    /// <summary>Clients that send an older version may have consumers that know no zstd (KIP-110).</summary>
    private const short FirstVersionWithZstd = 7;

    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.Produce;

    /// <inheritdoc/>
    protected override ValueTask<IResponseMessage?> HandleAsync(ProduceRequest request, RequestContext context)
    {
        var response = new ProduceResponse();
        response.Responses.Capacity = request.TopicData.Count;
        var pending = request.Acks == -1 ? new List<PendingAppend>(1) : null;
        var failed = ErrorCode.None;
        foreach (var topic in request.TopicData)
        {
            var name = context.ApiVersion >= 13 ? metadata.Image.Topics.Find(topic.TopicId)?.Name : topic.Name;
            var answer = new ProduceResponse.TopicProduceResponse
            {
                Name = topic.Name,
                TopicId = topic.TopicId,
            };
            answer.PartitionResponses.Capacity = topic.PartitionData.Count;
            response.Responses.Add(answer);
            foreach (var data in topic.PartitionData)
            {
                var appended = Append(request, context, name, data, out var partition);
                var partitionAnswer = Answer(data.Index, appended);
                answer.PartitionResponses.Add(partitionAnswer);
                if (appended.Error == ErrorCode.None)
                    pending?.Add(new PendingAppend(partition!, appended.Append.NextOffset, partitionAnswer));
                else
                    failed = appended.Error;
                if (appended.Error == ErrorCode.NotLeaderOrFollower)
                    AddLeader(response, partitionAnswer, name!, data.Index, context);
            }
        }

        if (request.Acks == 0)
        {
            if (failed != ErrorCode.None)
                context.CloseConnection($"a produce request with acks=0 failed with {ErrorCodes.Name(failed)}");
            return ValueTask.FromResult<IResponseMessage?>(null);
        }

        return pending is { Count: > 0 }
            ? waiter.WaitAsync(response, pending, request.TimeoutMs)
            : ValueTask.FromResult<IResponseMessage?>(response);
    }

    /// <summary>The header of the first batch; all zeros when there is none that can be read.</summary>
    private static RecordBatchHeader FirstHeader(in ReadOnlySequence<byte> records)
    {
        Span<byte> header = stackalloc byte[RecordBatchLayout.HeaderSize];
        if (records.Length < header.Length)
            return default;
        records.Slice(0, header.Length).CopyTo(header);
        return RecordBatchHeader.TryParse(header, out var batch) && batch.Magic == 2 ? batch : default;
    }

    private static ProduceResponse.PartitionProduceResponse Answer(int index, in PartitionAppend appended)
    {
        var answer = new ProduceResponse.PartitionProduceResponse
        {
            Index = index,
            ErrorCode = appended.Error,
            BaseOffset = appended.Append.FirstOffset,
            LogAppendTimeMs = appended.Append.LogAppendTimeMs,
            LogStartOffset = appended.Append.LogStartOffset,
            ErrorMessage = appended.Message,
        };
        foreach (var error in appended.Append.RecordErrors)
        {
            answer.RecordErrors.Add(new ProduceResponse.BatchIndexAndErrorMessage
            {
                BatchIndex = error.BatchIndex,
                BatchIndexErrorMessage = error.Message,
            });
        }

        return answer;
    }

    private PartitionAppend Append(
        ProduceRequest request,
        RequestContext context,
        string? topic,
        ProduceRequest.PartitionProduceData data,
        out Partition? partition)
    {
        partition = null;
        if (request.Acks is < -1 or > 1)
        {
            return PartitionAppend.Refused(
                ErrorCode.InvalidRequiredAcks, $"acks={request.Acks} is not one of -1 (all), 0 and 1");
        }

        if (topic is null)
            return PartitionAppend.Refused(ErrorCode.UnknownTopicId);
        if (!authorizer.Topic(context, AclOperation.Write, topic))
            return PartitionAppend.Refused(ErrorCode.TopicAuthorizationFailed);
        if (TopicNames.IsInternal(topic) && context.ClientId != AdminClientId)
        {
            return PartitionAppend.Refused(
                ErrorCode.InvalidTopicException, $"Cannot append to internal topic {topic}");
        }

        if (data.Records is not { } records || !records.TryGetBytes(out var bytes) || bytes.IsEmpty)
        {
            return PartitionAppend.Refused(
                ErrorCode.InvalidRecord,
                "Produce requests must have exactly one record batch for each partition; "
                + $"{topic}-{data.Index} has none");
        }

        var topicPartition = new TopicPartition(topic, data.Index);
        var error = partitions.Find(topicPartition, out partition);
        if (error != ErrorCode.None)
            return PartitionAppend.Refused(error, partitions.OfflineReason(topicPartition));
        var header = FirstHeader(bytes);
        if (header.Compression == CompressionType.Zstd && context.ApiVersion < FirstVersionWithZstd)
        {
            return PartitionAppend.Refused(
                ErrorCode.UnsupportedCompressionType,
                $"Produce requests with version {context.ApiVersion} are not allowed to use ZStandard compression");
        }

        if (header.IsTransactional && request.TransactionalId is null)
        {
            return PartitionAppend.Refused(
                ErrorCode.TransactionalIdAuthorizationFailed,
                "The batch is transactional, but the request names no transactional id");
        }

        if (header.IsTransactional)
        {
            return PartitionAppend.Refused(
                ErrorCode.InvalidTxnState,
                "This version of KBroker has no transactions yet; the batch is transactional");
        }

        return partition.AppendAsLeader(bytes, request.Acks, AppendOptions.Client);
    }

    private void AddLeader(
        ProduceResponse response,
        ProduceResponse.PartitionProduceResponse answer,
        string topic,
        int index,
        RequestContext context)
    {
        if (metadata.Image.Topics.FindPartition(topic, index) is not { } image)
            return;
        answer.CurrentLeader = new ProduceResponse.LeaderIdAndEpoch
        {
            LeaderId = image.Leader,
            LeaderEpoch = image.LeaderEpoch,
        };
        if (response.NodeEndpoints.Exists(node => node.NodeId == image.Leader)
            || !metadata.Image.Brokers.TryGetValue(image.Leader, out var broker)
            || broker.Endpoint(context.ListenerName) is not { } endpoint)
            return;
        response.NodeEndpoints.Add(new ProduceResponse.NodeEndpoint
        {
            NodeId = broker.Id,
            Host = endpoint.Host,
            Port = endpoint.Port,
            Rack = broker.Rack,
        });
    }
}
