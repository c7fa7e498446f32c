using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Groups.Consumer.State;

/// <summary>Where a member stands between its old and its new assignment; a number in its record.</summary>
internal enum MemberState : sbyte
{
    /// <summary>It has what it shall have, as of its epoch.</summary>
    Stable = 0,

    /// <summary>It has to give up partitions, and has not said yet that it did.</summary>
    UnrevokedPartitions = 1,

    /// <summary>It waits for partitions that other members have to give up.</summary>
    UnreleasedPartitions = 2,

    /// <summary>A newer version of Kafka wrote it.</summary>
    Unknown = 127,
}

/// <summary>
/// A member of a consumer group: what it told of itself, and its current assignment. Immutable; its target assignment
/// is the group's affair.
/// </summary>
internal sealed record ConsumerMember
{
    /// <summary>The epoch of a member that leaves for good.</summary>
    public const int LeaveEpoch = -1;

    /// <summary>The epoch of a static member that is away, and may come back with another member id.</summary>
    public const int StaticLeaveEpoch = -2;

    /// <summary>Its id: made by itself, or by the broker for the oldest clients.</summary>
    public required string MemberId { get; init; }

    /// <summary>The static member's name, or null.</summary>
    public string? InstanceId { get; init; }

    /// <summary>Its rack, or null.</summary>
    public string? RackId { get; init; }

    /// <summary>Its <c>client.id</c>.</summary>
    public string ClientId { get; init; } = "";

    /// <summary>Its address.</summary>
    public string ClientHost { get; init; } = "";

    /// <summary>The topics it names, sorted, each once.</summary>
    public string[] Topics { get; init; } = [];

    /// <summary>The regular expression that it subscribes to; null or empty for none.</summary>
    public string? Regex { get; init; } = "";

    /// <summary>Milliseconds that it may take to give up partitions; -1 before it said so.</summary>
    public int RebalanceTimeoutMs { get; init; } = -1;

    /// <summary>The assignor that it wishes, or null.</summary>
    public string? ServerAssignor { get; init; }

    /// <summary>What a member of the classic protocol told in JoinGroup; null for all others.</summary>
    public ConsumerGroupMemberMetadataValue.ClassicMemberMetadataData? Classic { get; init; }

    /// <summary>Its epoch: the target assignment that it has reached, or is on the way from.</summary>
    public int MemberEpoch { get; init; }

    /// <summary>The epoch before: it may still be named when the answer with the new one was lost.</summary>
    public int PreviousMemberEpoch { get; init; } = -1;

    /// <summary>Where it stands.</summary>
    public MemberState State { get; init; } = MemberState.Stable;

    /// <summary>What it owns.</summary>
    public PartitionAssignment Assigned { get; init; } = PartitionAssignment.Empty;

    /// <summary>What it has to give up.</summary>
    public PartitionAssignment PendingRevocation { get; init; } = PartitionAssignment.Empty;

    /// <summary>Whether it speaks the classic protocol.</summary>
    public bool UsesClassicProtocol => Classic is not null;

    /// <summary>Whether it subscribes to a regular expression.</summary>
    public bool HasRegex => !string.IsNullOrEmpty(Regex);

    /// <summary>Whether it has reached a target assignment.</summary>
    /// <param name="targetEpoch">The epoch of the target assignment.</param>
    public bool IsReconciledTo(int targetEpoch) => State == MemberState.Stable && MemberEpoch == targetEpoch;

    /// <summary>Whether its member record (type 5) would be the same.</summary>
    /// <param name="other">The member after a change.</param>
    public bool HasSameSubscription(ConsumerMember other) =>
        ReferenceEquals(this, other)
        || (InstanceId == other.InstanceId && RackId == other.RackId && ClientId == other.ClientId
            && ClientHost == other.ClientHost && Regex == other.Regex
            && RebalanceTimeoutMs == other.RebalanceTimeoutMs && ServerAssignor == other.ServerAssignor
            && Topics.AsSpan().SequenceEqual(other.Topics) && IsSame(Classic, other.Classic));

    /// <summary>Whether its current assignment record (type 8) would be the same.</summary>
    /// <param name="other">The member after a change.</param>
    public bool HasSameAssignment(ConsumerMember other) =>
        ReferenceEquals(this, other)
        || (MemberEpoch == other.MemberEpoch && PreviousMemberEpoch == other.PreviousMemberEpoch
            && State == other.State && Assigned.Equals(other.Assigned)
            && PendingRevocation.Equals(other.PendingRevocation));

    /// <summary>The names sorted, each once.</summary>
    /// <param name="names">Names as a client sent them.</param>
    public static string[] Sorted(List<string> names)
    {
        string[] sorted = [.. names];
        Array.Sort(sorted, string.CompareOrdinal);
        var count = 0;
        for (var i = 0; i < sorted.Length; i++)
        {
            if (count == 0 || sorted[count - 1] != sorted[i])
                sorted[count++] = sorted[i];
        }

        return count == sorted.Length ? sorted : sorted[..count];
    }

    private static bool IsSame(
        ConsumerGroupMemberMetadataValue.ClassicMemberMetadataData? mine,
        ConsumerGroupMemberMetadataValue.ClassicMemberMetadataData? theirs)
    {
        if (mine is null || theirs is null)
            return mine is null && theirs is null;
        if (mine.SessionTimeoutMs != theirs.SessionTimeoutMs
            || mine.SupportedProtocols.Count != theirs.SupportedProtocols.Count)
        {
            return false;
        }

        for (var i = 0; i < mine.SupportedProtocols.Count; i++)
        {
            if (mine.SupportedProtocols[i].Name != theirs.SupportedProtocols[i].Name
                || !mine.SupportedProtocols[i].Metadata.Span.SequenceEqual(theirs.SupportedProtocols[i].Metadata.Span))
            {
                return false;
            }
        }

        return true;
    }
}
