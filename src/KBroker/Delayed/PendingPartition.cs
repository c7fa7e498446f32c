using KBroker.Admin;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using Entry = KBroker.Protocol.Messages.ListPendingRecordsResponse.PendingEntry;
using Numbers = KBroker.Protocol.Messages.ListPendingRecordsResponse.PartitionResponse;

namespace KBroker.Delayed;

/// <summary>The pending records of one partition: their numbers, and page by page the records.</summary>
internal sealed class PendingPartition
{
    private const sbyte KindDelayed = 0;

    private readonly AdminConnection _leader;
    private readonly string _topic;
    private readonly Queue<Entry> _page = new();
    private (long FromMs, long FromOffset)? _next = (long.MinValue, long.MinValue);

    private PendingPartition(AdminConnection leader, string topic, Numbers numbers)
    {
        _leader = leader;
        _topic = topic;
        Numbers = numbers;
    }

    /// <summary>The partition's number, how many are pending, and when the next is due.</summary>
    public Numbers Numbers { get; }

    /// <summary>When the entry is due that <see cref="TakeAsync"/> gives next, as far as is known.</summary>
    public long NextDueMs => _page.TryPeek(out var entry) ? entry.DueMs
        : _next is { } next ? Math.Max(next.FromMs, Numbers.NextDueMs)
        : long.MaxValue;

    /// <summary>Asks a leader for the numbers of its partitions.</summary>
    /// <param name="leader">The broker.</param>
    /// <param name="topics">Topics with partitions; empty for all that delay.</param>
    /// <param name="cancellation">Ends the waiting.</param>
    /// <returns>By topic.</returns>
    /// <exception cref="AdminException">A partition cannot tell.</exception>
    public static async Task<List<(string Topic, PendingPartition Partition)>> FindAsync(
        AdminConnection leader,
        IEnumerable<IGrouping<string, AdminPartition>> topics,
        CancellationToken cancellation)
    {
        var request = new ListPendingRecordsRequest { Kind = KindDelayed };
        foreach (var topic in topics)
        {
            request.Topics.Add(new ListPendingRecordsRequest.TopicRequest
            {
                Name = topic.Key,
                PartitionIndexes = [.. topic.Select(static p => p.Index)],
            });
        }

        var response = await CallAsync(leader, request, cancellation).ConfigureAwait(false);
        // A partition that has just moved away is told by its new leader.
        return
        [
            .. from topic in response.Topics
               from partition in topic.Partitions
               where request.Topics.Count > 0 || partition.ErrorCode != ErrorCode.NotLeaderOrFollower
               select (topic.Name, new PendingPartition(leader, topic.Name, Checked(topic.Name, partition))),
        ];
    }

    /// <summary>Looks for single records.</summary>
    /// <param name="leader">The partition's leader.</param>
    /// <param name="partition">The partition.</param>
    /// <param name="offsets">The offsets that producers were told.</param>
    /// <param name="cancellation">Ends the waiting.</param>
    /// <returns>The numbers, with an entry for each of them that is pending.</returns>
    /// <exception cref="AdminException">The partition cannot tell.</exception>
    public static Task<Numbers> FindAsync(
        AdminConnection leader, AdminPartition partition, List<long> offsets, CancellationToken cancellation) =>
        AskAsync(
            leader, partition.Topic, partition.Index, (long.MinValue, long.MinValue), offsets.Count, offsets,
            cancellation);

    /// <summary>The next entry.</summary>
    /// <param name="pageSize">Entries that are fetched at a time.</param>
    /// <param name="cancellation">Ends the waiting.</param>
    /// <returns>Null when there is none.</returns>
    public async ValueTask<Entry?> TakeAsync(int pageSize, CancellationToken cancellation)
    {
        while (_page.Count == 0 && _next is { } from)
        {
            var page = await AskAsync(
                _leader, _topic, Numbers.PartitionIndex, from, pageSize, [], cancellation).ConfigureAwait(false);
            foreach (var entry in page.Entries)
                _page.Enqueue(entry);
            _next = page.NextFromOffset >= 0 ? (page.NextFromMs, page.NextFromOffset) : null;
        }

        return _page.TryDequeue(out var taken) ? taken : null;
    }

    private static async Task<Numbers> AskAsync(
        AdminConnection leader,
        string topic,
        int index,
        (long FromMs, long FromOffset) from,
        int limit,
        List<long> offsets,
        CancellationToken cancellation)
    {
        var request = new ListPendingRecordsRequest
        {
            Kind = KindDelayed,
            Topics = [new() { Name = topic, PartitionIndexes = [index] }],
            FromMs = from.FromMs,
            FromOffset = from.FromOffset,
            Offsets = offsets,
            Limit = limit,
        };
        var response = await CallAsync(leader, request, cancellation).ConfigureAwait(false);
        return Checked(topic, response.Topics[0].Partitions[0]);
    }

    private static async Task<ListPendingRecordsResponse> CallAsync(
        AdminConnection leader, ListPendingRecordsRequest request, CancellationToken cancellation)
    {
        var response = await leader.CallAsync<ListPendingRecordsResponse>(request, cancellation).ConfigureAwait(false);
        return response.ErrorCode == ErrorCode.None
            ? response
            : throw new AdminException($"{ErrorCodes.Name(response.ErrorCode)}: {response.ErrorMessage}");
    }

    private static Numbers Checked(string topic, Numbers partition)
    {
        if (partition.ErrorCode == ErrorCode.None)
            return partition;
        var reason = partition.ErrorMessage ?? ErrorCodes.Name(partition.ErrorCode);
        throw new AdminException(partition.ErrorCode switch
        {
            ErrorCode.InvalidConfig => reason,
            _ when ErrorCodes.IsRetriable(partition.ErrorCode) =>
                $"{topic}-{partition.PartitionIndex}: {reason}. Try again.",
            _ => $"{topic}-{partition.PartitionIndex}: {reason}.",
        });
    }
}
