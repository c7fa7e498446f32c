using System.Collections.Concurrent;
using KBroker.Crash.History;

namespace KBroker.Crash.Load;

/// <summary>A topic under load, or one that comes and goes.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Incarnation">The how manieth topic of that name.</param>
/// <param name="Partitions">What is known of each.</param>
internal sealed record LoadTopic(string Name, int Incarnation, IReadOnlyList<PartitionHistory> Partitions)
{
    public static LoadTopic Create(string name, int incarnation, int partitions, Losses losses) => new(
        name,
        incarnation,
        [.. Enumerable.Range(0, partitions).Select(p => new PartitionHistory($"{name}#{incarnation}-{p}", losses))]);
}

/// <summary>The topics that one generation of clients works on; the next one gets new ones.</summary>
internal sealed class LoadTopics
{
    private const string SegmentBytes = "16384";

    public LoadTopics(int generation)
    {
        Safe = LoadTopic.Create($"safe-{generation}", 0, 2, Losses.None);
        Loose = LoadTopic.Create($"loose-{generation}", 0, 1, Losses.None);
        Retained = LoadTopic.Create($"retained-{generation}", 0, 2, Losses.Retention);
        Trimmed = LoadTopic.Create($"trimmed-{generation}", 0, 1, Losses.DeleteRecords);
        Compacted = LoadTopic.Create($"compacted-{generation}", 0, 2, Losses.Compaction);
    }

    /// <summary>Never loses anything.</summary>
    public LoadTopic Safe { get; }

    /// <summary>Gets records with acks=1 alone.</summary>
    public LoadTopic Loose { get; }

    /// <summary>Loses its oldest records by size and time.</summary>
    public LoadTopic Retained { get; }

    /// <summary>Loses records by DeleteRecords.</summary>
    public LoadTopic Trimmed { get; }

    /// <summary>Keeps the latest record of each key.</summary>
    public LoadTopic Compacted { get; }

    public IEnumerable<LoadTopic> All => [Safe, Loose, Retained, Trimmed, Compacted];

    /// <summary>How a topic is configured.</summary>
    public static Dictionary<string, string> ConfigOf(LoadTopic topic)
    {
        var configs = new Dictionary<string, string>
        {
            ["internal.segment.bytes"] = SegmentBytes,
            ["index.interval.bytes"] = "512",
            ["file.delete.delay.ms"] = "60",
            ["retention.ms"] = "-1",
        };
        if ((topic.Partitions[0].Losses & Losses.Retention) != 0)
        {
            configs["retention.bytes"] = "100000";
            configs["retention.ms"] = "600000";
        }

        if ((topic.Partitions[0].Losses & Losses.Compaction) != 0)
        {
            configs["cleanup.policy"] = "compact";
            configs["min.cleanable.dirty.ratio"] = "0.05";
            configs["delete.retention.ms"] = ((long)Observation.TombstonesStay.TotalMilliseconds).ToString();
        }

        return configs;
    }
}

/// <summary>Problems found by anybody, at any time.</summary>
internal sealed class Problems
{
    private readonly ConcurrentQueue<string> _all = new();

    public int Count => _all.Count;

    public IReadOnlyCollection<string> All => _all;

    public void Add(string problem) => _all.Enqueue(problem);

    public void AddIfAny(string? problem)
    {
        if (problem is not null)
            _all.Enqueue(problem);
    }
}
