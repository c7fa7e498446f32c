using KBroker.Crash.History;
using KBroker.Crash.Transactions;

namespace KBroker.Crash.Delays;

/// <summary>What a producer asks for with a record.</summary>
internal enum DelayKind
{
    /// <summary>To be read at once.</summary>
    Plain,

    /// <summary>To be read at some time.</summary>
    Delayed,

    /// <summary>That another one shall not be read.</summary>
    Cancel,
}

/// <summary>A record as its producer knows it. One thread writes; the check reads when that one rests.</summary>
/// <param name="Place">Where to.</param>
/// <param name="Id">Which.</param>
/// <param name="Kind">What for.</param>
internal sealed record DelaySent(Place Place, RecordId Id, DelayKind Kind)
{
    private long _offset = -1;
    private long _ackedMs;

    /// <summary>The header that asks for it; null for a plain one.</summary>
    public (string Name, long Value)? Request { get; init; }

    /// <summary>The record's timestamp, epoch ms; null where the broker gives it.</summary>
    public long? TimestampMs { get; init; }

    /// <summary>The earliest instant at which it may be read.</summary>
    public long DueLeastMs { get; init; }

    /// <summary>How much later that may be, where the broker's clock counts, which stamps it until the answer
    /// comes: the delay, to be added to <see cref="AckedMs"/>; null where the instant is known.</summary>
    public long? DelayFromAckMs { get; init; }

    /// <summary>For a cancel: the record that shall not be read.</summary>
    public DelaySent? Target { get; init; }

    /// <summary>Its transaction; null without.</summary>
    public SentTransaction? Transaction { get; init; }

    /// <summary>The producer id of its batch; -1 for none, or one that is not known.</summary>
    public long ProducerId { get; init; } = -1;

    /// <summary>The offset that its producer was told; -1 without an answer.</summary>
    public long Offset => Interlocked.Read(ref _offset);

    /// <summary>When the answer came, epoch ms.</summary>
    public long AckedMs => Interlocked.Read(ref _ackedMs);

    public bool IsAcked => Offset >= 0;

    /// <summary>From when on it must be readable.</summary>
    public long DueMostMs => DelayFromAckMs is { } delay ? AckedMs + delay : DueLeastMs;

    public override string ToString() => $"{Id} ({Kind}"
        + (Request is { } request ? $", {request.Name} {request.Value}" : "")
        + (Transaction is null ? "" : $", {Transaction.Name} {Transaction.Outcome}")
        + (IsAcked ? $", offset {Offset}" : ", no answer") + ")";

    public void Acked(long offset, long nowMs)
    {
        Interlocked.Exchange(ref _ackedMs, nowMs);
        Interlocked.Exchange(ref _offset, offset);
    }

    public bool Equals(DelaySent? other) => ReferenceEquals(this, other);

    public override int GetHashCode() => Id.GetHashCode();
}

/// <summary>A record as a consumer gets it.</summary>
/// <param name="Offset">Where.</param>
/// <param name="Id">Which; null when its value is not what anybody sent.</param>
internal sealed record DelayFound(long Offset, RecordId? Id)
{
    public string? Key { get; init; }

    /// <summary>The header of its producer.</summary>
    public string? UserHeader { get; init; }

    public long TimestampMs { get; init; }

    /// <summary><c>kbroker-origin-offset</c>; -1 for a record that is no copy.</summary>
    public long OriginOffset { get; init; } = -1;

    /// <summary><c>kbroker-origin-timestamp</c>; -1 without.</summary>
    public long OriginTimestampMs { get; init; } = -1;

    /// <summary>Whether it has headers that ask the broker for something.</summary>
    public bool HasRequest { get; init; }

    public bool IsTransactional { get; init; }

    /// <summary>When a reader had it, epoch ms.</summary>
    public long SeenMs { get; init; }

    public bool IsCopy => OriginOffset >= 0;

    /// <summary>Whether both are the same record, whoever has read it.</summary>
    public bool IsSame(DelayFound other) => this with { SeenMs = 0 } == other with { SeenMs = 0 };

    public override string ToString() => $"offset {Offset}: {PartitionHistory.Show(Id)}"
        + (IsCopy ? $", a copy of {OriginOffset}" : "") + $", {TimestampMs}, seen {SeenMs}";
}

/// <summary>The end of a transaction in a partition.</summary>
internal readonly record struct DelayMarker(long Offset, long ProducerId, bool IsCommit);

/// <summary>A stretch of a partition, as a consumer gets it.</summary>
/// <param name="From">Where the reading began.</param>
/// <param name="Next">Where to go on.</param>
/// <param name="HighWatermark">Where it ends.</param>
/// <param name="Records">What is visible.</param>
/// <param name="Markers">The ends of transactions.</param>
internal sealed record DelayStretch(
    long From, long Next, long HighWatermark, IReadOnlyList<DelayFound> Records, IReadOnlyList<DelayMarker> Markers);
