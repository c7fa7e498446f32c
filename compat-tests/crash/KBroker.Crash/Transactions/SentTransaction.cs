using KBroker.Crash.History;

namespace KBroker.Crash.Transactions;

/// <summary>What the client of a transaction knows of its end.</summary>
internal enum Outcome
{
    /// <summary>Nobody has asked for its commit.</summary>
    Open,

    /// <summary>Its commit was asked for, and there was no answer: it may end either way.</summary>
    CommitAsked,

    /// <summary>The commit was acknowledged, or what was found says so.</summary>
    Committed,

    /// <summary>
    /// It was aborted, or its producer went away before it asked for the commit, or what was found says so.
    /// </summary>
    Aborted,
}

/// <summary>A partition, by name.</summary>
internal readonly record struct Place(string Topic, int Partition)
{
    public override string ToString() => $"{Topic}-{Partition}";
}

/// <summary>A transaction as its client knows it. One thread writes; the check reads when that one rests.</summary>
internal sealed class SentTransaction(int producer, int number)
{
    private volatile Outcome _outcome;

    public string Name => $"t{producer}/{number}";

    public int Producer => producer;

    /// <summary>Counts the transactions of a producer.</summary>
    public int Number => number;

    /// <summary>What it sent, in order.</summary>
    public List<(Place Place, RecordId Id)> Records { get; } = [];

    /// <summary>The group in which it commits its number as the offset of <see cref="OffsetPlace"/>; null without.</summary>
    public string? Group { get; set; }

    public Outcome Outcome
    {
        get => _outcome;
        set => _outcome = value;
    }

    /// <summary>A read_committed reader has had a record of it.</summary>
    public bool WasRead { get; set; }

    /// <summary>The partition whose offset the wire's producers commit.</summary>
    public static Place OffsetPlace(string topic) => new(topic, 0);
}
