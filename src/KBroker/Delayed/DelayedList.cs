using KBroker.Admin;
using KBroker.Protocol.Messages;

namespace KBroker.Delayed;

/// <summary>Where the list goes: a table, or JSON.</summary>
internal interface IDelayedOutput
{
    /// <summary>Begins.</summary>
    /// <param name="topics">The topics that follow.</param>
    void Begin(IReadOnlyCollection<string> topics);

    /// <summary>Begins a topic.</summary>
    /// <param name="topic">What is told of it.</param>
    void BeginTopic(DelayedTopic topic);

    /// <summary>A record that is pending.</summary>
    void Add(DelayedTopic topic, int partition, ListPendingRecordsResponse.PendingEntry entry);

    /// <summary>Ends a topic.</summary>
    /// <param name="topic">The topic.</param>
    /// <param name="listed">Records that were added.</param>
    void EndTopic(DelayedTopic topic, int listed);

    /// <summary>Ends.</summary>
    void End();
}

/// <summary>The numbers of a topic.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Pending">Records pending.</param>
/// <param name="NextDueMs">When the next one is due, epoch ms; -1 for none.</param>
/// <param name="IsEnabled">Whether new delays are allowed.</param>
internal sealed record DelayedTopic(string Name, long Pending, long NextDueMs, bool IsEnabled);

/// <summary>
/// <c>kbroker delayed list</c>: asks all leaders for their numbers, then merges the records of a topic's partitions,
/// which come page by page, so that memory is bounded whatever the number pending.
/// </summary>
/// <param name="cluster">The brokers.</param>
internal sealed class DelayedList(AdminCluster cluster)
{
    private const int PageMax = 1000;

    /// <summary>The topics; none for all that delay.</summary>
    public required IReadOnlyCollection<string> Topics { get; init; }

    /// <summary>The one partition that is wanted; null for all.</summary>
    public required int? Partition { get; init; }

    /// <summary>Records of each topic, at most.</summary>
    public required int Limit { get; init; }

    /// <summary>Writes the list.</summary>
    /// <exception cref="AdminException">A broker cannot be reached, or refuses.</exception>
    public async Task WriteAsync(IDelayedOutput output, CancellationToken cancellation)
    {
        var found = await FindAsync(cancellation).ConfigureAwait(false);
        var topics = found
            .GroupBy(static f => f.Topic, static f => f.Partition, StringComparer.Ordinal)
            .OrderBy(static topic => topic.Key, StringComparer.Ordinal)
            .ToList();
        output.Begin([.. topics.Select(static topic => topic.Key)]);
        foreach (var partitions in topics)
        {
            var pending = partitions.Where(static p => p.Numbers.PendingCount > 0).ToList();
            var topic = new DelayedTopic(
                partitions.Key,
                pending.Sum(static p => p.Numbers.PendingCount),
                pending.Select(static p => p.Numbers.NextDueMs).DefaultIfEmpty(-1).Min(),
                partitions.Any(static p => p.Numbers.IsEnabled));
            output.BeginTopic(topic);
            output.EndTopic(topic, await MergeAsync(topic, pending, output, cancellation).ConfigureAwait(false));
        }

        output.End();
    }

    private async Task<List<(string Topic, PendingPartition Partition)>> FindAsync(CancellationToken cancellation)
    {
        var found = new List<(string, PendingPartition)>();
        if (Topics.Count == 0)
        {
            await cluster.FindAsync([], cancellation).ConfigureAwait(false);
            foreach (var broker in cluster.Brokers)
            {
                var connection = await cluster.ConnectAsync(broker, cancellation).ConfigureAwait(false);
                found.AddRange(await PendingPartition.FindAsync(connection, [], cancellation).ConfigureAwait(false));
            }

            return found;
        }

        IEnumerable<AdminPartition> wanted = Partition is { } index
            ? [await cluster.FindAsync(Topics.First(), index, cancellation).ConfigureAwait(false)]
            : await cluster.FindAsync(Topics, cancellation).ConfigureAwait(false);
        foreach (var led in wanted.GroupBy(static p => p.LeaderId))
        {
            var leader = await cluster.ConnectAsync(led.First(), cancellation).ConfigureAwait(false);
            found.AddRange(await PendingPartition.FindAsync(
                leader, led.GroupBy(static p => p.Topic), cancellation).ConfigureAwait(false));
        }

        return found;
    }

    private async Task<int> MergeAsync(
        DelayedTopic topic, List<PendingPartition> pending, IDelayedOutput output, CancellationToken cancellation)
    {
        var sources = new PriorityQueue<PendingPartition, (long, int)>(
            pending.Select(static p => (p, (p.NextDueMs, p.Numbers.PartitionIndex))));
        var listed = 0;
        while (listed < Limit && sources.TryDequeue(out var source, out _))
        {
            if (await source.TakeAsync(Math.Min(Limit - listed, PageMax), cancellation).ConfigureAwait(false)
                is not { } entry)
                continue;
            output.Add(topic, source.Numbers.PartitionIndex, entry);
            listed++;
            sources.Enqueue(source, (source.NextDueMs, source.Numbers.PartitionIndex));
        }

        return listed;
    }
}
