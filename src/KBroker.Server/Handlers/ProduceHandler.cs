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
/// From version 13 on topics go by id. The first batch of a transaction for a partition is appended when the
/// transaction coordinator consents (KIP-890); until then later requests of the connection wait, for their records
/// come behind it. From version 12 on the coordinator adds the partition to the transaction thereby.
/// </remarks>
/// <param name="partitions">The partitions of this broker.</param>
/// <param name="metadata">The metadata, for topic ids and for where the leader is.</param>
/// <param name="waiter">Waits for acks=all.</param>
/// <param name="verifier">Asks the transaction coordinator.</param>
/// <param name="authorizer">Decides who may write.</param>
public sealed class ProduceHandler(
    PartitionRegistry partitions,
    IMetadataLog metadata,
    AcknowledgementWaiter waiter,
    TransactionVerifier verifier,
    IAuthorizer authorizer)
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
        var work = new ProduceWork(request, context);
        var response = work.Response;
        response.Responses.Capacity = request.TopicData.Count;
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
                var partitionAnswer = new ProduceResponse.PartitionProduceResponse { Index = data.Index };
                answer.PartitionResponses.Add(partitionAnswer);
                var appended = Append(work, name, data, partitionAnswer, out var partition);
                if (partition is not null || appended.Error != ErrorCode.None)
                    Complete(work, partitionAnswer, appended, partition, name);
            }
        }

        if (work.Unverified is null)
            return Finish(work);
        // The bytes of the request are needed until the coordinator has answered.
        context.RunsAlone = true;
        return VerifyAsync(work);
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

    private static void Fill(ProduceResponse.PartitionProduceResponse answer, in PartitionAppend appended)
    {
        answer.ErrorCode = appended.Error;
        answer.BaseOffset = appended.Append.FirstOffset;
        answer.LogAppendTimeMs = appended.Append.LogAppendTimeMs;
        answer.LogStartOffset = appended.Append.LogStartOffset;
        answer.ErrorMessage = appended.Message;
        foreach (var error in appended.Append.RecordErrors)
        {
            answer.RecordErrors.Add(new ProduceResponse.BatchIndexAndErrorMessage
            {
                BatchIndex = error.BatchIndex,
                BatchIndexErrorMessage = error.Message,
            });
        }
    }

    private void Complete(
        ProduceWork work,
        ProduceResponse.PartitionProduceResponse answer,
        in PartitionAppend appended,
        Partition? partition,
        string? topic)
    {
        Fill(answer, appended);
        if (appended.Error == ErrorCode.None)
            work.Pending?.Add(new PendingAppend(partition!, appended.Append.NextOffset, answer));
        else
            work.Failed = appended.Error;
        if (appended.Error == ErrorCode.NotLeaderOrFollower)
            AddLeader(work.Response, answer, topic!, answer.Index, work.Context);
    }

    private ValueTask<IResponseMessage?> Finish(ProduceWork work)
    {
        if (work.Request.Acks == 0)
        {
            if (work.Failed != ErrorCode.None)
            {
                work.Context.CloseConnection(
                    $"a produce request with acks=0 failed with {ErrorCodes.Name(work.Failed)}");
            }

            return ValueTask.FromResult<IResponseMessage?>(null);
        }

        return work.Pending is { Count: > 0 } pending
            ? waiter.WaitAsync(work.Response, pending, work.Request.TimeoutMs)
            : ValueTask.FromResult<IResponseMessage?>(work.Response);
    }

    private async ValueTask<IResponseMessage?> VerifyAsync(ProduceWork work)
    {
        var asked = work.Unverified!;
        for (var asksLeft = TransactionVerifier.AsksMax; asked.Count > 0; asksLeft--)
        {
            var producer = asked[0].Verification;
            var errors = await verifier.RunAsync(
                work.Request.TransactionalId!,
                producer.ProducerId,
                producer.Epoch,
                [.. asked.Select(static u => u.Partition.TopicPartition)],
                Adds(work.Context)).ConfigureAwait(false);
            var again = new List<UnverifiedAppend>();
            for (var i = 0; i < asked.Count; i++)
            {
                if (errors[i] == ErrorCode.None && asksLeft > 1 && IsVoid(asked[i], work.Context, out var renewed))
                    again.Add(renewed);
                else
                    AppendVerified(work, asked[i], producer, errors[i]);
            }

            asked = again;
        }

        return await Finish(work).ConfigureAwait(false);
    }

    /// <summary>
    /// Whether a marker came between question and answer, that of the transaction before: then the answer may be too
    /// old, and one asks again.
    /// </summary>
    private static bool IsVoid(in UnverifiedAppend asked, RequestContext context, out UnverifiedAppend renewed)
    {
        renewed = asked;
        var question = asked.Partition.BeginVerification(FirstHeader(asked.Records), Adds(context));
        if (question is null || question == asked.Verification)
            return false;
        renewed = asked with { Verification = question };
        return true;
    }

    private void AppendVerified(
        ProduceWork work, in UnverifiedAppend one, TransactionVerification producer, ErrorCode verified)
    {
        var isOfProducer = one.Verification.ProducerId == producer.ProducerId
            && one.Verification.Epoch == producer.Epoch;
        var (error, message) = isOfProducer
            ? TransactionVerifier.ForProducer(verified, work.Context.ApiVersion)
            : (ErrorCode.InvalidProducerIdMapping, "Transactional records contained more than one producer ID");
        var appended = error != ErrorCode.None
            ? PartitionAppend.Refused(error, message)
            : one.Partition.AppendAsLeader(
                one.Records,
                work.Request.Acks,
                AppendOptions.Client with { RequiresVerification = true, Verification = one.Verification });
        Complete(work, one.Answer, appended, one.Partition, one.Partition.TopicPartition.Topic);
    }

    private static bool Adds(RequestContext context) =>
        context.ApiVersion >= TransactionVerifier.FirstProduceThatAdds;

    /// <summary>Appends at once, or notes in the work what has to be verified before; then there is no partition.
    /// </summary>
    private PartitionAppend Append(
        ProduceWork work,
        string? topic,
        ProduceRequest.PartitionProduceData data,
        ProduceResponse.PartitionProduceResponse answer,
        out Partition? partition)
    {
        var (request, context) = (work.Request, work.Context);
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

        if (!header.IsTransactional)
            return partition.AppendAsLeader(bytes, request.Acks, AppendOptions.Client);
        if (request.TransactionalId is null
            || !authorizer.TransactionalId(context, AclOperation.Write, request.TransactionalId))
        {
            return PartitionAppend.Refused(
                ErrorCode.TransactionalIdAuthorizationFailed,
                request.TransactionalId is null
                    ? "The batch is transactional, but the request names no transactional id"
                    : null);
        }

        if (!verifier.IsEnabled(context.ApiVersion))
            return partition.AppendAsLeader(bytes, request.Acks, AppendOptions.Client);
        if (partition.BeginVerification(header, Adds(context)) is { } verification)
        {
            work.Unverified ??= [];
            work.Unverified.Add(new UnverifiedAppend(partition, bytes, verification, answer));
            partition = null;
            return default;
        }

        return partition.AppendAsLeader(
            bytes, request.Acks, AppendOptions.Client with { RequiresVerification = true });
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
