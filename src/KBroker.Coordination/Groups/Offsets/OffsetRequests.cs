using KBroker.Coordination.Groups.Classic;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Storage.Crashing;

namespace KBroker.Coordination.Groups.Offsets;

/// <summary>
/// OffsetCommit, TxnOffsetCommit, OffsetFetch and OffsetDelete on a shard. Topics have names here; whether they exist,
/// and whether the client may touch them, was asked before.
/// </summary>
/// <param name="options">Configs.</param>
/// <param name="groups">The groups of the shard.</param>
/// <param name="store">Their offsets.</param>
internal sealed class OffsetRequests(GroupShardOptions options, GroupMap groups, OffsetStore store)
{
    private const long InvalidOffset = -1;

    /// <summary>From this version on, clients know GROUP_ID_NOT_FOUND and STALE_MEMBER_EPOCH as answers to a
    /// commit.</summary>
    private const short FirstVersionWithGroupErrors = 9;

    /// <summary>Commits offsets.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="request">The request.</param>
    /// <returns>An error code for each partition.</returns>
    /// <exception cref="CoordinatorException">The group refuses the whole commit.</exception>
    public OffsetCommitResponse Commit(ICoordinatorTurn turn, in GroupRequest<OffsetCommitRequest> request)
    {
        var message = request.Message;
        var committer = new OffsetCommitter(
            message.MemberId, message.GroupInstanceId, message.GenerationIdOrMemberEpoch, false, request.Version);
        var group = FindForCommit(message.GroupId, committer);
        try
        {
            group.CheckOffsetCommit(turn, committer);
        }
        catch (CoordinatorException refused) when (
            refused.Error == ErrorCode.StaleMemberEpoch && request.Version < FirstVersionWithGroupErrors)
        {
            throw new CoordinatorException(ErrorCode.UnsupportedVersion);
        }

        foreach (var topic in message.Topics)
        {
            foreach (var partition in topic.Partitions)
                group.CheckOffsetCommitPartition(turn, committer, topic.Name, partition.PartitionIndex);
        }

        var expireTimestampMs = message.RetentionTimeMs < 0 ? -1 : turn.NowMs + message.RetentionTimeMs;
        var metadataCharsMax = MetadataCharsMax;
        var response = new OffsetCommitResponse();
        foreach (var topic in message.Topics)
        {
            var answer = new OffsetCommitResponse.OffsetCommitResponseTopic
            {
                Name = topic.Name,
                TopicId = topic.TopicId,
            };
            response.Topics.Add(answer);
            foreach (var partition in topic.Partitions)
            {
                var error = ErrorCode.None;
                if (partition.CommittedMetadata?.Length > metadataCharsMax)
                {
                    error = ErrorCode.OffsetMetadataTooLarge;
                }
                else
                {
                    Append(turn, new OffsetKey(message.GroupId, topic.Name, partition.PartitionIndex), new(
                        partition.CommittedOffset, partition.CommittedLeaderEpoch, partition.CommittedMetadata ?? "",
                        turn.NowMs, expireTimestampMs, topic.TopicId, -1));
                }

                answer.Partitions.Add(new OffsetCommitResponse.OffsetCommitResponsePartition
                {
                    PartitionIndex = partition.PartitionIndex,
                    ErrorCode = error,
                });
            }
        }

        return response;
    }

    /// <summary>
    /// Commits offsets within a transaction: the turn's records are transactional, and hold with its marker.
    /// </summary>
    /// <param name="turn">A step of the transaction's producer.</param>
    /// <param name="request">The request.</param>
    /// <returns>An error code for each partition.</returns>
    /// <exception cref="CoordinatorException">The group refuses the whole commit.</exception>
    public TxnOffsetCommitResponse Commit(ICoordinatorTurn turn, in GroupRequest<TxnOffsetCommitRequest> request)
    {
        var message = request.Message;
        var committer = new OffsetCommitter(
            message.MemberId, message.GroupInstanceId, message.GenerationId, true, request.Version);
        try
        {
            FindForCommit(message.GroupId, committer).CheckOffsetCommit(turn, committer);
        }
        catch (CoordinatorException refused) when (refused.Error == ErrorCode.StaleMemberEpoch)
        {
            throw new CoordinatorException(ErrorCode.IllegalGeneration);
        }

        CrashPoint.ReachedOnceAppended("txn.offsets-appended");
        var metadataCharsMax = MetadataCharsMax;
        var response = new TxnOffsetCommitResponse();
        foreach (var topic in message.Topics)
        {
            var answer = new TxnOffsetCommitResponse.TxnOffsetCommitResponseTopic { Name = topic.Name };
            response.Topics.Add(answer);
            foreach (var partition in topic.Partitions)
            {
                var error = ErrorCode.None;
                if (partition.CommittedMetadata?.Length > metadataCharsMax)
                {
                    error = ErrorCode.OffsetMetadataTooLarge;
                }
                else
                {
                    Append(turn, new OffsetKey(message.GroupId, topic.Name, partition.PartitionIndex), new(
                        partition.CommittedOffset, partition.CommittedLeaderEpoch, partition.CommittedMetadata ?? "",
                        turn.NowMs, -1, Uuid.Zero, -1));
                }

                answer.Partitions.Add(new TxnOffsetCommitResponse.TxnOffsetCommitResponsePartition
                {
                    PartitionIndex = partition.PartitionIndex,
                    ErrorCode = error,
                });
            }
        }

        return response;
    }

    /// <summary>Reads the committed offsets of a group.</summary>
    /// <param name="request">Group, member and topics; null topics stand for all.</param>
    /// <param name="requireStable">Whether a partition with an open transaction has UNSTABLE_OFFSET_COMMIT instead of
    /// its old offset.</param>
    /// <returns>The offsets; -1 where there is none.</returns>
    /// <exception cref="CoordinatorException">The member is not one of the group, or its epoch is not the
    /// newest.</exception>
    public OffsetFetchResponse.OffsetFetchResponseGroup Fetch(
        OffsetFetchRequest.OffsetFetchRequestGroup request, bool requireStable)
    {
        // A group that is not there has no offsets, whoever asks.
        groups.Find(request.GroupId)?.CheckOffsetFetch(request.MemberId, request.MemberEpoch);
        var response = new OffsetFetchResponse.OffsetFetchResponseGroup { GroupId = request.GroupId };
        if (request.Topics is null)
        {
            FetchAll(request.GroupId, requireStable, response);
            return response;
        }

        foreach (var topic in request.Topics)
        {
            var answer = new OffsetFetchResponse.OffsetFetchResponseTopics
            {
                Name = topic.Name,
                TopicId = topic.TopicId,
            };
            response.Topics.Add(answer);
            foreach (var partition in topic.PartitionIndexes)
                answer.Partitions.Add(Fetch(request.GroupId, topic.Name, topic.TopicId, partition, requireStable));
        }

        return response;
    }

    /// <summary>Deletes offsets of topics that no member is subscribed to.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="request">The request.</param>
    /// <returns>An error code for each partition.</returns>
    /// <exception cref="CoordinatorException">GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP.</exception>
    public OffsetDeleteResponse Delete(ICoordinatorTurn turn, OffsetDeleteRequest request)
    {
        var group = groups.Find(request.GroupId)
            ?? throw new CoordinatorException(ErrorCode.GroupIdNotFound, $"Group {request.GroupId} not found.");
        group.CheckOffsetDelete();
        var response = new OffsetDeleteResponse();
        foreach (var topic in request.Topics)
        {
            var isSubscribed = group.IsSubscribedTo(topic.Name);
            var answer = new OffsetDeleteResponse.OffsetDeleteResponseTopic { Name = topic.Name };
            response.Topics.Add(answer);
            foreach (var partition in topic.Partitions)
            {
                answer.Partitions.Add(new OffsetDeleteResponse.OffsetDeleteResponsePartition
                {
                    PartitionIndex = partition.PartitionIndex,
                    ErrorCode = isSubscribed ? ErrorCode.GroupSubscribedToTopic : ErrorCode.None,
                });
                var key = new OffsetKey(request.GroupId, topic.Name, partition.PartitionIndex);
                if (!isSubscribed && (store.Committed.TryGet(key.GroupId, key.Topic, key.Partition, out _)
                    || store.Pending.Contains(key)))
                    turn.Append(CoordinatorRecord.Tombstone(key.ToKey()));
            }
        }

        return response;
    }

    private int MetadataCharsMax => options.Configs.Broker.GetInt("offset.metadata.max.bytes");

    private static void Append(ICoordinatorTurn turn, in OffsetKey key, in CommittedOffset offset) =>
        turn.Append(new CoordinatorRecord(key.ToKey(), offset.ToValue(), offset.ValueVersion));

    private static OffsetFetchResponse.OffsetFetchResponsePartitions NoOffset(int partition, ErrorCode error) => new()
    {
        PartitionIndex = partition,
        CommittedOffset = InvalidOffset,
        CommittedLeaderEpoch = -1,
        Metadata = "",
        ErrorCode = error,
    };

    /// <summary>
    /// The group that a commit goes to. A client that is no member of an unknown group makes it known so: a simple
    /// consumer that manages its partitions itself, or a tool that sets offsets.
    /// </summary>
    private Group FindForCommit(string groupId, in OffsetCommitter committer)
    {
        if (groups.Find(groupId) is { } known)
            return known;
        if (committer.GenerationOrEpoch < 0)
            return ClassicGroups.GetOrCreateSimple(groups, groupId);
        throw committer.ApiVersion >= FirstVersionWithGroupErrors && !committer.IsTransactional
            ? new CoordinatorException(ErrorCode.GroupIdNotFound, $"Group {groupId} not found.")
            : new CoordinatorException(ErrorCode.IllegalGeneration);
    }

    private void FetchAll(string groupId, bool requireStable, OffsetFetchResponse.OffsetFetchResponseGroup response)
    {
        foreach (var (topic, partitions) in store.Committed.Of(groupId))
        {
            var answer = new OffsetFetchResponse.OffsetFetchResponseTopics { Name = topic };
            response.Topics.Add(answer);
            foreach (var partition in partitions.Keys)
                answer.Partitions.Add(Fetch(groupId, topic, Uuid.Zero, partition, requireStable));
        }
    }

    private OffsetFetchResponse.OffsetFetchResponsePartitions Fetch(
        string groupId, string topic, Uuid topicId, int partition, bool requireStable)
    {
        if (requireStable && store.Pending.Contains(new OffsetKey(groupId, topic, partition)))
            return NoOffset(partition, ErrorCode.UnstableOffsetCommit);
        // An offset that was committed to an earlier topic of this name says nothing of this one.
        if (!store.Committed.TryGet(groupId, topic, partition, out var offset)
            || (topicId != Uuid.Zero && offset.TopicId != Uuid.Zero && topicId != offset.TopicId))
            return NoOffset(partition, ErrorCode.None);
        return new OffsetFetchResponse.OffsetFetchResponsePartitions
        {
            PartitionIndex = partition,
            CommittedOffset = offset.Offset,
            CommittedLeaderEpoch = offset.LeaderEpoch,
            Metadata = offset.Metadata,
        };
    }
}
