using KBroker.Cluster.Configuration;
using KBroker.Cluster.Metadata;
using KBroker.Coordination.Groups.Consumer.Assignors;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Groups.Consumer;

/// <summary>The requests of consumer groups (KIP-848), as handlers call them once they have authorized them.</summary>
public sealed class ConsumerGroupApi
{
    private readonly IGroupShards _shards;
    private readonly ConfigView _configs;
    private readonly string[] _assignors;

    /// <summary>Creates the API.</summary>
    /// <param name="shards">The shards of this broker.</param>
    /// <param name="configs">The configs in force.</param>
    internal ConsumerGroupApi(IGroupShards shards, ConfigView configs)
    {
        _shards = shards;
        _configs = configs;
        _assignors = [.. new AssignorSet(configs.Broker.GetList("group.consumer.assignors")).Names];
    }

    /// <summary>
    /// Whether the protocol is offered: <c>group.version</c> is 1 at least, and
    /// <c>group.coordinator.rebalance.protocols</c> has <c>consumer</c>. Otherwise requests are answered with
    /// UNSUPPORTED_VERSION.
    /// </summary>
    /// <param name="image">The metadata.</param>
    public bool IsEnabled(MetadataImage image)
    {
        ArgumentNullException.ThrowIfNull(image);
        return image.Features.Level(SupportedFeatures.GroupVersion) >= 1
            && _configs.Broker.GetList("group.coordinator.rebalance.protocols").Contains("consumer");
    }

    /// <summary>Handles a ConsumerGroupHeartbeat.</summary>
    /// <param name="request">The request.</param>
    /// <param name="mayDescribe">Whether the client may see a topic that its regular expression matches. It is asked
    /// later, and on other threads.</param>
    /// <returns>The answer; refusals are in it.</returns>
    public async Task<ConsumerGroupHeartbeatResponse> HeartbeatAsync(
        GroupRequest<ConsumerGroupHeartbeatRequest> request, Predicate<string> mayDescribe)
    {
        try
        {
            HeartbeatRequestCheck.Check(request.Message, request.Version, _assignors);
            return await _shards.RunAsync<ConsumerGroupHeartbeatResponse>(
                request.Message.GroupId,
                (shard, turn, reply) => turn.Send(reply, shard.Consumer.Heartbeat(turn, request, mayDescribe)))
                .ConfigureAwait(false);
        }
        catch (CoordinatorException refusal)
        {
            return new ConsumerGroupHeartbeatResponse
            {
                ErrorCode = refusal.Error,
                ErrorMessage = refusal.ClientMessage,
            };
        }
    }

    /// <summary>Describes groups.</summary>
    /// <param name="groupIds">The groups.</param>
    /// <returns>Their descriptions, in the same order; errors are in them.</returns>
    public async Task<IReadOnlyList<ConsumerGroupDescribeResponse.DescribedGroup>> DescribeAsync(
        IReadOnlyList<string> groupIds)
    {
        ArgumentNullException.ThrowIfNull(groupIds);
        return await Task.WhenAll(groupIds.Select(DescribeAsync)).ConfigureAwait(false);
    }

    private async Task<ConsumerGroupDescribeResponse.DescribedGroup> DescribeAsync(string groupId)
    {
        if (groupId.Length == 0)
            return new ConsumerGroupDescribeResponse.DescribedGroup { ErrorCode = ErrorCode.InvalidGroupId };
        try
        {
            return await _shards.RunAsync<ConsumerGroupDescribeResponse.DescribedGroup>(
                groupId,
                (shard, turn, reply) =>
                    turn.Send(reply, shard.Consumer.Description.Describe(groupId, turn.Metadata)))
                .ConfigureAwait(false);
        }
        catch (CoordinatorException refusal)
        {
            return new ConsumerGroupDescribeResponse.DescribedGroup
            {
                GroupId = groupId,
                ErrorCode = refusal.Error,
                ErrorMessage = refusal.ClientMessage,
            };
        }
    }
}
