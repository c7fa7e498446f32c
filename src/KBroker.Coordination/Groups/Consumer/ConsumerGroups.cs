using KBroker.Cluster.Metadata;
using KBroker.Coordination.Groups.Classic;
using KBroker.Coordination.Groups.Consumer.Migration;
using KBroker.Coordination.Groups.Consumer.State;
using KBroker.Coordination.Runtime;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Groups.Consumer;

/// <summary>The groups of a shard that speak the consumer protocol (KIP-848).</summary>
internal sealed class ConsumerGroups
{
    private readonly GroupMap _groups;
    private readonly ConsumerReplay _replay;
    private readonly ConsumerHeartbeats _heartbeats;

    /// <summary>Creates the service of a shard.</summary>
    /// <param name="options">Configs, ids, log.</param>
    /// <param name="groups">The groups of the shard.</param>
    /// <param name="classic">The classic groups, which become consumer groups and come out of them.</param>
    public ConsumerGroups(GroupShardOptions options, GroupMap groups, ClassicGroups classic)
    {
        _groups = groups;
        _replay = new ConsumerReplay(groups);
        Services = new ConsumerGroupServices(options, groups);
        var conversion = new GroupConversion(options, groups, classic, Services.Hashes, Services.Removal);
        Services.Upgrade = conversion.Upgrade;
        Services.Removal.Downgrade = (turn, group, leaving) =>
        {
            if (!conversion.MayDowngrade(group, leaving))
                return false;
            conversion.Downgrade(turn, group, leaving, "the last member of the consumer protocol left");
            return true;
        };
        ClassicMembers = new ClassicMembers(groups, Services, conversion);
        _heartbeats = new ConsumerHeartbeats(groups, Services);
        Description = new ConsumerGroupDescription(groups, Services.Targets.Assignors);
    }

    /// <summary>What the requests are made of.</summary>
    internal ConsumerGroupServices Services { get; }

    /// <summary>Serves the classic protocol to members of consumer groups.</summary>
    internal IClassicProtocol ClassicMembers { get; }

    /// <summary>Describes groups.</summary>
    internal ConsumerGroupDescription Description { get; }

    /// <summary>Applies a record of a consumer group; unknown kinds (share, streams groups) are left alone.</summary>
    /// <param name="key">The record's key.</param>
    /// <param name="value">Its value; null for a tombstone.</param>
    public void Replay(IRecordMessage key, IRecordMessage? value) => _replay.Apply(key, value);

    /// <summary>Gives every member a new session, and the revocations a new timeout.</summary>
    /// <param name="turn">The shard's first step.</param>
    public void OnLoaded(ICoordinatorTurn turn)
    {
        foreach (var group in _groups.All.OfType<ConsumerGroup>().ToList())
        {
            foreach (var member in group.Members.Values)
            {
                var timeoutMs = member.Classic?.SessionTimeoutMs ?? Services.SettingsOf(group).SessionTimeoutMs;
                Services.Removal.StartSession(turn, group, member.MemberId, timeoutMs);
                if (member.State == MemberState.UnrevokedPartitions && !member.UsesClassicProtocol)
                    Services.Removal.StartRebalance(turn, group, member);
            }
        }
    }

    /// <summary>Groups whose topics changed get a new assignment with the next heartbeat.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="update">What changed.</param>
    public void OnMetadata(ICoordinatorTurn turn, MetadataUpdate update)
    {
        var changed = update.ChangedTopics.Concat(update.DeletedTopics).Select(static t => t.Name).ToHashSet();
        foreach (var topic in changed)
            Services.Hashes.Forget(topic);
        if (update.ChangedTopics.Any(topic => update.Previous.Topics.Find(topic.Id) is null))
            Services.Regexes.LastVersionWithNewTopics = update.Current.Provenance.LastContainedOffset;

        var configs = update.ChangedConfigs.ToHashSet();
        var all = configs.Any(static c => c.Type == ConfigResourceType.Broker);
        foreach (var group in _groups.All.OfType<ConsumerGroup>())
        {
            group.IsMetadataStale |= changed.Count > 0 && group.SubscribedTopics.Overlaps(changed);
            if (all || configs.Contains(new ConfigResource(ConfigResourceType.Group, group.GroupId)))
                group.Settings = null;
        }
    }

    /// <summary>Handles a ConsumerGroupHeartbeat.</summary>
    /// <param name="turn">The step.</param>
    /// <param name="request">The request; <see cref="HeartbeatRequestCheck"/> has let it pass.</param>
    /// <param name="mayDescribe">Whether the member may see a topic.</param>
    /// <exception cref="CoordinatorException">Any refusal.</exception>
    public ConsumerGroupHeartbeatResponse Heartbeat(
        ICoordinatorTurn turn, in GroupRequest<ConsumerGroupHeartbeatRequest> request, Predicate<string> mayDescribe) =>
        _heartbeats.Handle(turn, request, mayDescribe);
}
