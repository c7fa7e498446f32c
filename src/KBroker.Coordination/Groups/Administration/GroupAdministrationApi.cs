using KBroker.Coordination.Groups.Classic;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Groups.Administration;

/// <summary>
/// DescribeGroups, ListGroups and DeleteGroups, for the handlers. Every error is in the answer; nothing is thrown.
/// </summary>
public sealed class GroupAdministrationApi
{
    private const short FirstVersionWithGroupIdNotFound = 6;

    private readonly IGroupShards _shards;

    internal GroupAdministrationApi(IGroupShards shards) => _shards = shards;

    /// <summary>
    /// Describes a classic group. One that does not exist is Dead; from version 6 on also GROUP_ID_NOT_FOUND
    /// (KIP-1043). Consumer groups are no classic groups: they have ConsumerGroupDescribe.
    /// </summary>
    /// <param name="groupId">The group.</param>
    /// <param name="version">Version of the request.</param>
    public async Task<DescribeGroupsResponse.DescribedGroup> DescribeAsync(string groupId, short version)
    {
        try
        {
            return await _shards.RunAsync<DescribeGroupsResponse.DescribedGroup>(
                groupId,
                (shard, turn, reply) => turn.Send(reply, Describe(shard.Groups.Find(groupId), groupId, version)))
                .ConfigureAwait(false);
        }
        catch (CoordinatorException refused)
        {
            return new DescribeGroupsResponse.DescribedGroup { GroupId = groupId, ErrorCode = refused.Error };
        }
    }

    /// <summary>Lists the groups that this broker coordinates, of both types.</summary>
    /// <param name="request">The filters.</param>
    /// <returns>The groups; COORDINATOR_LOAD_IN_PROGRESS and no groups while some are still being loaded.</returns>
    public async Task<ListGroupsResponse> ListAsync(ListGroupsRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        var filter = new GroupFilter(request);
        try
        {
            var parts = await _shards.RunOnAllAsync((shard, _) => filter.Select(shard.Groups.All))
                .ConfigureAwait(false);
            return new ListGroupsResponse { Groups = [.. parts.SelectMany(static part => part)] };
        }
        catch (CoordinatorException refused)
        {
            return new ListGroupsResponse { ErrorCode = refused.Error };
        }
    }

    /// <summary>Deletes a group that has no members, of any type, with its offsets.</summary>
    /// <param name="groupId">The group.</param>
    /// <returns>NONE, GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP, or why its coordinator cannot tell.</returns>
    public async Task<ErrorCode> DeleteAsync(string groupId)
    {
        try
        {
            return await _shards.RunAsync<ErrorCode>(groupId, (shard, turn, reply) =>
            {
                var group = shard.Groups.Find(groupId)
                    ?? throw new CoordinatorException(ErrorCode.GroupIdNotFound);
                group.CheckDelete();
                shard.Offsets.DeleteAll(turn, groupId);
                group.AppendTombstones(turn);
                turn.Send(reply, ErrorCode.None);
            }).ConfigureAwait(false);
        }
        catch (CoordinatorException refused)
        {
            return refused.Error;
        }
    }

    private static DescribeGroupsResponse.DescribedGroup Describe(Group? group, string groupId, short version)
    {
        if (group is ClassicGroup classic)
            return GroupDescriptions.Of(classic);
        var described = new DescribeGroupsResponse.DescribedGroup
        {
            GroupId = groupId,
            GroupState = nameof(ClassicGroupState.Dead),
        };
        if (version >= FirstVersionWithGroupIdNotFound)
        {
            described.ErrorCode = ErrorCode.GroupIdNotFound;
            described.ErrorMessage =
                group is null ? $"Group {groupId} not found." : $"Group {groupId} is not a classic group.";
        }

        return described;
    }
}
