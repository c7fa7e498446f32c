namespace KBroker.Coordination.Groups.Classic;

/// <summary>Where a classic group stands; the names are those DescribeGroups and ListGroups show.</summary>
internal enum ClassicGroupState
{
    /// <summary>No members; perhaps offsets.</summary>
    Empty,

    /// <summary>Members are asked to join the next generation; JoinGroups wait.</summary>
    PreparingRebalance,

    /// <summary>The generation is formed and its leader assigns; SyncGroups wait.</summary>
    CompletingRebalance,

    /// <summary>Every member has, or can fetch, its assignment.</summary>
    Stable,

    /// <summary>Deleted, replaced by a group of the other type, or unloaded: late timers find it so.</summary>
    Dead,
}
