using System.Collections.Immutable;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Cluster.Metadata;

/// <summary>
/// A partition as the metadata knows it: <c>PartitionRecord</c> with all later <c>PartitionChangeRecord</c>s applied.
/// Immutable.
/// </summary>
public sealed record PartitionImage
{
    /// <summary>Leader value of a partition without a leader.</summary>
    public const int NoLeader = -1;

    /// <summary>Leader value of a change record that leaves the leader alone.</summary>
    public const int NoLeaderChange = -2;

    /// <summary>Index of the partition within its topic.</summary>
    public required int PartitionId { get; init; }

    /// <summary>Broker ids of the replicas; the first is the preferred leader.</summary>
    public required ImmutableArray<int> Replicas { get; init; }

    /// <summary>The log directory of each replica, in the order of <see cref="Replicas"/>; empty when
    /// unassigned.</summary>
    public ImmutableArray<Uuid> Directories { get; init; } = [];

    /// <summary>The replicas in sync.</summary>
    public required ImmutableArray<int> Isr { get; init; }

    /// <summary>Replicas that a running reassignment takes away.</summary>
    public ImmutableArray<int> RemovingReplicas { get; init; } = [];

    /// <summary>Replicas that a running reassignment adds.</summary>
    public ImmutableArray<int> AddingReplicas { get; init; } = [];

    /// <summary>Replicas outside the ISR that hold everything up to the high watermark (KIP-966).</summary>
    public ImmutableArray<int> EligibleLeaderReplicas { get; init; } = [];

    /// <summary>The last members of the ISR or ELR before both became empty (KIP-966).</summary>
    public ImmutableArray<int> LastKnownElr { get; init; } = [];

    /// <summary>Broker id of the leader, or <see cref="NoLeader"/>.</summary>
    public required int Leader { get; init; }

    /// <summary>0 recovered, 1 recovering after an unclean election.</summary>
    public sbyte LeaderRecoveryState { get; init; }

    /// <summary>Counts the changes of the leader.</summary>
    public required int LeaderEpoch { get; init; }

    /// <summary>Counts all changes of the partition.</summary>
    public required int PartitionEpoch { get; init; }

    /// <summary>The log directory the broker was told to keep its replica in; <see cref="Uuid.Zero"/> when
    /// unassigned.</summary>
    public Uuid DirectoryOf(int brokerId)
    {
        var index = Replicas.IndexOf(brokerId);
        return index >= 0 && index < Directories.Length ? Directories[index] : Uuid.Zero;
    }

    internal static PartitionImage From(PartitionRecord record) => new()
    {
        PartitionId = record.PartitionId,
        Replicas = [.. record.Replicas],
        Directories = [.. record.Directories],
        Isr = [.. record.Isr],
        RemovingReplicas = [.. record.RemovingReplicas],
        AddingReplicas = [.. record.AddingReplicas],
        EligibleLeaderReplicas = [.. record.EligibleLeaderReplicas ?? []],
        LastKnownElr = [.. record.LastKnownElr ?? []],
        Leader = record.Leader,
        LeaderRecoveryState = record.LeaderRecoveryState,
        LeaderEpoch = record.LeaderEpoch,
        PartitionEpoch = record.PartitionEpoch,
    };

    internal PartitionRecord ToRecord(Uuid topicId, short version) => new()
    {
        PartitionId = PartitionId,
        TopicId = topicId,
        Replicas = [.. Replicas],
        Directories = [.. Directories],
        Isr = [.. Isr],
        RemovingReplicas = [.. RemovingReplicas],
        AddingReplicas = [.. AddingReplicas],
        EligibleLeaderReplicas = version >= 2 && !EligibleLeaderReplicas.IsEmpty ? [.. EligibleLeaderReplicas] : null,
        LastKnownElr = version >= 2 && !LastKnownElr.IsEmpty ? [.. LastKnownElr] : null,
        Leader = Leader,
        LeaderRecoveryState = LeaderRecoveryState,
        LeaderEpoch = LeaderEpoch,
        PartitionEpoch = PartitionEpoch,
    };

    /// <summary>Applies a change. Every change raises the partition epoch; one that names a leader raises the leader
    /// epoch too.</summary>
    internal PartitionImage With(PartitionChangeRecord change)
    {
        static ImmutableArray<T> Changed<T>(List<T>? to, ImmutableArray<T> from) => to is null ? from : [.. to];
        var replicas = Changed(change.Replicas, Replicas);
        var leaderChanges = change.Leader != NoLeaderChange;
        return new PartitionImage
        {
            PartitionId = PartitionId,
            Replicas = replicas,
            Directories = change.Directories is { } dirs ? [.. dirs]
                : change.Replicas is null ? Directories
                : Directories.IsEmpty ? [] : [.. replicas.Select(DirectoryOf)],
            Isr = Changed(change.Isr, Isr),
            RemovingReplicas = Changed(change.RemovingReplicas, RemovingReplicas),
            AddingReplicas = Changed(change.AddingReplicas, AddingReplicas),
            EligibleLeaderReplicas = Changed(change.EligibleLeaderReplicas, EligibleLeaderReplicas),
            LastKnownElr = Changed(change.LastKnownElr, LastKnownElr),
            Leader = leaderChanges ? change.Leader : Leader,
            LeaderRecoveryState = change.LeaderRecoveryState == -1 ? LeaderRecoveryState : change.LeaderRecoveryState,
            LeaderEpoch = leaderChanges ? LeaderEpoch + 1 : LeaderEpoch,
            PartitionEpoch = PartitionEpoch + 1,
        };
    }
}
