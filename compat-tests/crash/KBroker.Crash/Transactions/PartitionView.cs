using KBroker.Crash.History;

namespace KBroker.Crash.Transactions;

/// <summary>All that one look at a partition found, while no client wrote.</summary>
internal sealed record PartitionView(Place Place)
{
    public long HighWatermark { get; init; }

    public long LastStableOffset { get; init; }

    /// <summary>Every record, as a read_uncommitted reader gets it.</summary>
    public IReadOnlyList<FoundRecord> All { get; init; } = [];

    /// <summary>What a read_committed reader gets, who skips what the broker calls aborted.</summary>
    public IReadOnlyList<FoundRecord> Committed { get; init; } = [];

    /// <summary>What the markers in the log say is committed: each decides what its producer wrote before it.</summary>
    public IReadOnlyList<FoundRecord> CommittedByMarkers { get; init; } = [];

    /// <summary>Producer ids with records that no marker follows.</summary>
    public IReadOnlyList<long> WithoutMarker { get; init; } = [];
}

/// <summary>What the coordinators say, while no client works.</summary>
/// <param name="Transactions">State by transactional id (ListTransactions).</param>
/// <param name="Offsets">Stable committed offsets by group and partition; -1 for none, null while not stable.</param>
internal sealed record CoordinatorView(
    IReadOnlyDictionary<string, string> Transactions,
    IReadOnlyDictionary<(string Group, Place Place), long?> Offsets);

/// <summary>A pipeline: what is readable in one topic is to be in the other, once and in order, partition by partition.</summary>
internal sealed record PipelineTopics(string Group, string Input, string Output, int Partitions)
{
    /// <summary>Set in the producer number of what a pipeline writes for a record.</summary>
    public const int OutputFlag = 1 << 30;

    /// <summary>The record that is written for another one.</summary>
    public static RecordId OutputOf(RecordId input) => new(input.Producer | OutputFlag, input.Sequence);
}
