using KBroker.Coordination.Groups.Offsets;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Groups.Classic;

/// <summary>The classic groups of a shard: JoinGroup, SyncGroup, Heartbeat, LeaveGroup.</summary>
/// <param name="options">Configs, ids, log.</param>
/// <param name="groups">The groups of the shard.</param>
/// <param name="offsets">Their offsets: a group that has some stays when its members are gone.</param>
internal sealed class ClassicGroups(GroupShardOptions options, GroupMap groups, OffsetStore offsets)
{
    /// <summary>The configs in force.</summary>
    internal GroupShardOptions Options { get; } = options;

    /// <summary>The groups of the shard.</summary>
    internal GroupMap Groups { get; } = groups;

    /// <summary>Their offsets.</summary>
    internal OffsetStore Offsets { get; } = offsets;

    /// <summary>Applies a group's record.</summary>
    /// <param name="key">The group.</param>
    /// <param name="value">The group's state; null when it is deleted.</param>
    public void Replay(GroupMetadataKey key, GroupMetadataValue? value)
    {
    }

    /// <summary>Gives the members of every group a new session.</summary>
    /// <param name="turn">The shard's first step.</param>
    public void OnLoaded(ICoordinatorTurn turn)
    {
    }

    /// <summary>Fails the JoinGroups and SyncGroups that wait.</summary>
    /// <param name="error">What they are answered.</param>
    public void OnUnloaded(ErrorCode error)
    {
    }
}
