using KBroker.Cluster.Replication;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;
using KBroker.Storage;

namespace KBroker.Server.Handlers;

/// <summary>
/// ListOffsets: the offset of the first record at or after a time, exact to the record, or of a special place.
/// </summary>
/// <remarks>
/// Special places arrived over time: max timestamp (-3) in version 7, earliest local (-4) in 8, latest tiered (-5) in
/// 9,
/// earliest pending upload (-6) in 11; asked for in an older version they are UNSUPPORTED_VERSION. A partition named
/// twice is INVALID_REQUEST. Nothing is tiered here, so no lookup is slow enough for the timeout of version 10.
/// </remarks>
/// <param name="partitions">The partitions of this broker.</param>
/// <param name="authorizer">Decides who may ask.</param>
public sealed class ListOffsetsHandler(PartitionRegistry partitions, IAuthorizer authorizer)
    : RequestHandler<ListOffsetsRequest, ListOffsetsResponse>
{
    private const int DebuggingReplica = -2;

    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.ListOffsets;

    /// <inheritdoc/>
    protected override ValueTask<IResponseMessage?> HandleAsync(ListOffsetsRequest request, RequestContext context)
    {
        var response = new ListOffsetsResponse();
        var limit = request.ReplicaId >= 0 || request.ReplicaId == DebuggingReplica ? ReadLimit.LogEnd
            : request.IsolationLevel == (sbyte)IsolationLevel.ReadCommitted ? ReadLimit.LastStableOffset
            : ReadLimit.HighWatermark;
        var repeated = Repeated(request);
        foreach (var topic in request.Topics)
        {
            var answer = new ListOffsetsResponse.ListOffsetsTopicResponse { Name = topic.Name };
            response.Topics.Add(answer);
            var allowed = authorizer.Topic(context, AclOperation.Describe, topic.Name);
            foreach (var asked in topic.Partitions)
            {
                var found = !allowed ? PartitionOffset.Failed(ErrorCode.TopicAuthorizationFailed)
                    : repeated?.Contains(new TopicPartition(topic.Name, asked.PartitionIndex)) == true
                        ? PartitionOffset.Failed(ErrorCode.InvalidRequest)
                    : Find(topic.Name, asked, limit, context.ApiVersion);
                answer.Partitions.Add(new ListOffsetsResponse.ListOffsetsPartitionResponse
                {
                    PartitionIndex = asked.PartitionIndex,
                    ErrorCode = found.Error,
                    Timestamp = found.Timestamp,
                    Offset = found.Offset,
                    LeaderEpoch = found.LeaderEpoch,
                });
            }
        }

        return ValueTask.FromResult<IResponseMessage?>(response);
    }

    private static HashSet<TopicPartition>? Repeated(ListOffsetsRequest request)
    {
        var seen = new HashSet<TopicPartition>();
        HashSet<TopicPartition>? repeated = null;
        foreach (var topic in request.Topics)
        {
            foreach (var partition in topic.Partitions)
            {
                var topicPartition = new TopicPartition(topic.Name, partition.PartitionIndex);
                if (!seen.Add(topicPartition))
                    (repeated ??= []).Add(topicPartition);
            }
        }

        return repeated;
    }

    private static bool IsKnown(long timestamp, short version) => timestamp switch
    {
        >= SpecialTimestamps.Earliest => true,
        SpecialTimestamps.MaxTimestamp => version >= 7,
        SpecialTimestamps.EarliestLocal => version >= 8,
        SpecialTimestamps.LatestTiered => version >= 9,
        SpecialTimestamps.EarliestPendingUpload => version >= 11,
        _ => false,
    };

    private PartitionOffset Find(
        string topic, ListOffsetsRequest.ListOffsetsPartition asked, ReadLimit limit, short version)
    {
        if (!IsKnown(asked.Timestamp, version))
            return PartitionOffset.Failed(ErrorCode.UnsupportedVersion);
        var error = partitions.Find(new TopicPartition(topic, asked.PartitionIndex), out var partition);
        return error == ErrorCode.None
            ? partition!.FindOffset(asked.Timestamp, limit, asked.CurrentLeaderEpoch)
            : PartitionOffset.Failed(error);
    }
}
