using KBroker.Protocol.Messages;

namespace KBroker.Compat.Interchange.Tests.Work;

/// <summary>Consumer groups of each kind, as members leave them behind: empty, with committed offsets.</summary>
internal static class Groups
{
    /// <summary>Commits offsets without being a member.</summary>
    public static async Task CommitAsync(Commands commands, string group, Topic topic, params long[] offsets)
    {
        await Producer.FindCoordinatorAsync(commands, group, keyType: 0);
        await CommitAsync(commands, group, "", -1, topic, offsets);
    }

    /// <summary>Joins a classic group as its only member, commits, and leaves.</summary>
    public static async Task ClassicAsync(Commands commands, string group, Topic topic, params long[] offsets)
    {
        await Producer.FindCoordinatorAsync(commands, group, keyType: 0);
        var join = new JoinGroupRequest
        {
            GroupId = group,
            SessionTimeoutMs = 30_000,
            RebalanceTimeoutMs = 30_000,
            ProtocolType = "consumer",
            Protocols = [new() { Name = "range", Metadata = new byte[] { 0, 1, 0, 0, 0, 0, 255, 255, 255, 255 } }],
        };
        // The first answer only assigns the member's id.
        join.MemberId = (await commands.Client.SendAsync<JoinGroupResponse>(join)).MemberId;
        var member = await commands.PatientlyAsync<JoinGroupResponse>(join, a => a.ErrorCode);
        await commands.PatientlyAsync<SyncGroupResponse>(new SyncGroupRequest
        {
            GroupId = group,
            GenerationId = member.GenerationId,
            MemberId = member.MemberId,
            ProtocolType = "consumer",
            ProtocolName = "range",
            Assignments = [new() { MemberId = member.MemberId, Assignment = new byte[] { 0, 1, 2, 3 } }],
        }, a => a.ErrorCode);
        await CommitAsync(commands, group, member.MemberId, member.GenerationId, topic, offsets);
        await commands.PatientlyAsync<LeaveGroupResponse>(new LeaveGroupRequest
        {
            GroupId = group,
            Members = [new() { MemberId = member.MemberId }],
        }, a => a.ErrorCode);
    }

    /// <summary>Joins a group of the consumer protocol (KIP-848), commits, and leaves.</summary>
    public static async Task ConsumerAsync(Commands commands, string group, Topic topic, params long[] offsets)
    {
        await Producer.FindCoordinatorAsync(commands, group, keyType: 0);
        var id = Guid.NewGuid().ToString("N");
        var joined = await commands.PatientlyAsync<ConsumerGroupHeartbeatResponse>(new ConsumerGroupHeartbeatRequest
        {
            GroupId = group,
            MemberId = id,
            RebalanceTimeoutMs = 30_000,
            SubscribedTopicNames = [topic.Name],
            TopicPartitions = [],
        }, a => a.ErrorCode);
        await CommitAsync(commands, group, id, joined.MemberEpoch, topic, offsets);
        await commands.PatientlyAsync<ConsumerGroupHeartbeatResponse>(
            new ConsumerGroupHeartbeatRequest { GroupId = group, MemberId = id, MemberEpoch = -1 }, a => a.ErrorCode);
    }

    private static Task CommitAsync(
        Commands commands, string group, string member, int generation, Topic topic, long[] offsets) =>
        commands.PatientlyAsync<OffsetCommitResponse>(new OffsetCommitRequest
        {
            GroupId = group,
            GenerationIdOrMemberEpoch = generation,
            MemberId = member,
            Topics =
            [
                new()
                {
                    Name = topic.Name,
                    TopicId = topic.Id,
                    Partitions = [.. offsets.Select((offset, i) => new OffsetCommitRequest.OffsetCommitRequestPartition
                    {
                        PartitionIndex = i,
                        CommittedOffset = offset,
                        CommittedLeaderEpoch = 0,
                        CommittedMetadata = $"note {i}",
                    })],
                },
            ],
        }, a => a.Topics.Single().Partitions.First().ErrorCode);
}
