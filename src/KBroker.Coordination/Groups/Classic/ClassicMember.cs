using KBroker.Coordination.Runtime;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Groups.Classic;

/// <summary>
/// A member of a classic group. <see cref="ClassicGroup"/> alone changes what counts for the group (protocols, the
/// JoinGroup that waits); <see cref="ClassicSessions"/> alone the session.
/// </summary>
internal sealed class ClassicMember
{
    /// <summary>That no session timer is set.</summary>
    public const long NoTimer = long.MaxValue;

    /// <summary>Its id, made by the broker: the client id, or the instance id of a static member, and a UUID.</summary>
    public required string MemberId { get; init; }

    /// <summary>The static member's name (<c>group.instance.id</c>, KIP-345); null of a dynamic member.</summary>
    public string? InstanceId { get; init; }

    /// <summary>The client that joined first under this id.</summary>
    public required GroupClient Client { get; init; }

    /// <summary>What kind of group it takes part in: <c>consumer</c>, <c>connect</c>.</summary>
    public required string ProtocolType { get; init; }

    /// <summary>How long a rebalance may wait for it, milliseconds.</summary>
    public int RebalanceTimeoutMs { get; internal set; }

    /// <summary>How long it may be silent, milliseconds.</summary>
    public int SessionTimeoutMs { get; internal set; }

    /// <summary>The assignors it supports, the preferred one first.</summary>
    public ClassicProtocol[] Protocols { get; internal set; } = [];

    /// <summary>What the leader assigned to it; empty before the first SyncGroup.</summary>
    public ReadOnlyMemory<byte> Assignment { get; internal set; }

    /// <summary>
    /// Whether it has not been in a generation yet. Its client knows no member id then and cannot heartbeat, so the
    /// JoinGroup that waits has a limit of its own.
    /// </summary>
    public bool IsNew { get; internal set; }

    /// <summary>The JoinGroup that waits for the generation, or null.</summary>
    public Reply<JoinGroupResponse>? WaitingJoin { get; internal set; }

    /// <summary>The SyncGroup that waits for the leader's, or null.</summary>
    public Reply<SyncGroupResponse>? WaitingSync { get; internal set; }

    /// <summary>Whether a JoinGroup waits.</summary>
    public bool IsAwaitingJoin => WaitingJoin is not null;

    /// <summary>Whether a SyncGroup waits.</summary>
    public bool IsAwaitingSync => WaitingSync is not null;

    /// <summary>Whether it is alive without heartbeats: one that waits for the broker cannot send any.</summary>
    public bool NeedsNoHeartbeat => !IsNew && (IsAwaitingJoin || IsAwaitingSync);

    /// <summary>When its session ends, epoch milliseconds; each sign of life moves it, and it alone.</summary>
    public long SessionDeadlineMs { get; internal set; }

    /// <summary>When the session's timer runs: at or before the end of the session; <see cref="NoTimer"/>.</summary>
    public long SessionTimerMs { get; internal set; } = NoTimer;

    /// <summary>Names the session's timer; made once, since every heartbeat needs it.</summary>
    public string SessionKey { get; internal set; } = "";

    /// <summary>The step of the session's timer; made once.</summary>
    public Action<ICoordinatorTurn>? OnSessionTimer { get; internal set; }

    /// <summary>What it says under an assignor.</summary>
    /// <param name="protocolName">The assignor; null when the group has none.</param>
    /// <returns>The bytes; empty when it does not know the assignor.</returns>
    public ReadOnlyMemory<byte> MetadataOf(string? protocolName)
    {
        foreach (var protocol in Protocols)
        {
            if (protocol.Name == protocolName)
                return protocol.Metadata;
        }

        return default;
    }

    /// <summary>Notes a sign of life. The timer, when it runs, finds the new end of the session.</summary>
    /// <param name="nowMs">Now.</param>
    public void Touch(long nowMs) => SessionDeadlineMs = nowMs + SessionTimeoutMs;
}
