using KBroker.Coordination.Runtime;
using KBroker.Coordination.Transactions;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;
using KBroker.Storage;

namespace KBroker.Server.Handlers;

/// <summary>
/// WriteTxnMarkers: writes the commit and abort markers that a transaction coordinator, or an administrator who ends a
/// hanging transaction, sends to the leaders of partitions. Answered when the markers are on stable storage.
/// </summary>
/// <remarks>From version 2 on a marker says in which protocol its transaction ended (KIP-890).</remarks>
/// <param name="markers">Writes markers into this broker's partitions.</param>
/// <param name="authorizer">Decides who may: brokers, and those who may alter the cluster.</param>
public sealed class WriteTxnMarkersHandler(PartitionMarkers markers, IAuthorizer authorizer)
    : RequestHandler<WriteTxnMarkersRequest, WriteTxnMarkersResponse>
{
    private const sbyte FirstBumped = 2;

    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.WriteTxnMarkers;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        WriteTxnMarkersRequest request, RequestContext context)
    {
        if (!authorizer.Cluster(context, AclOperation.ClusterAction)
            && !authorizer.Cluster(context, AclOperation.Alter))
            return CreateErrorResponse(context, ErrorCode.ClusterAuthorizationFailed, null);
        var response = new WriteTxnMarkersResponse();
        var pending = new List<(
            Task<ErrorCode> Written, WriteTxnMarkersResponse.WritableTxnMarkerPartitionResult Result)>();
        foreach (var marker in request.Markers)
        {
            var end = new TransactionEnd(
                marker.ProducerId,
                marker.ProducerEpoch,
                marker.CoordinatorEpoch,
                marker.TransactionResult,
                marker.TransactionVersion >= FirstBumped);
            Add(response, marker, (partition, result) =>
                pending.Add((WriteAsync(partition, end), result)));
        }

        foreach (var (written, result) in pending)
            result.ErrorCode = await written.ConfigureAwait(false);
        return response;
    }

    /// <inheritdoc/>
    public override IResponseMessage? CreateErrorResponse(RequestContext context, ErrorCode error, string? message)
    {
        var response = new WriteTxnMarkersResponse();
        foreach (var marker in RequestOf(context)?.Markers ?? [])
            Add(response, marker, (_, result) => result.ErrorCode = error);
        return response;
    }

    private async Task<ErrorCode> WriteAsync(TopicPartition partition, TransactionEnd end) =>
        (await markers.WriteAsync([partition], end).ConfigureAwait(false))[0];

    private static void Add(
        WriteTxnMarkersResponse response,
        WriteTxnMarkersRequest.WritableTxnMarker marker,
        Action<TopicPartition, WriteTxnMarkersResponse.WritableTxnMarkerPartitionResult> onPartition)
    {
        var answer = new WriteTxnMarkersResponse.WritableTxnMarkerResult { ProducerId = marker.ProducerId };
        response.Markers.Add(answer);
        foreach (var topic in marker.Topics)
        {
            var results = new WriteTxnMarkersResponse.WritableTxnMarkerTopicResult { Name = topic.Name };
            answer.Topics.Add(results);
            foreach (var index in topic.PartitionIndexes)
            {
                var result = new WriteTxnMarkersResponse.WritableTxnMarkerPartitionResult { PartitionIndex = index };
                results.Partitions.Add(result);
                onPartition(new TopicPartition(topic.Name, index), result);
            }
        }
    }
}
