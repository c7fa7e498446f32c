using KBroker.Cluster.Replication;
using KBroker.Delivery.Delay;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;
using KBroker.Storage;

namespace KBroker.Server.Handlers;

/// <summary>
/// ListPendingRecords, KBroker's own: what partitions hide from consumers until something happens. Kind 0 are delayed
/// records that wait for their instant.
/// </summary>
/// <remarks>
/// Only the leader knows. A broker that has just started answers when it has read its log. Records of an open
/// transaction are not pending before it commits. An answer has at most <see cref="EntriesMax"/> entries in all, first
/// come first served by partition; a partition tells where its entries go on. A topic that allows no delays, and has
/// none from a time when it did, is answered with INVALID_CONFIG.
/// </remarks>
/// <param name="delays">The schedules.</param>
/// <param name="partitions">The partitions of this broker.</param>
/// <param name="authorizer">Decides who may ask: describing the topic is enough.</param>
/// <param name="time">The clock, for the time limit.</param>
public sealed class ListPendingRecordsHandler(
    DelayService delays, PartitionRegistry partitions, IAuthorizer authorizer, TimeProvider time)
    : RequestHandler<ListPendingRecordsRequest, ListPendingRecordsResponse>
{
    /// <summary>Entries of an answer, at most.</summary>
    public const int EntriesMax = 10_000;

    /// <summary>Offsets of a request, at most.</summary>
    public const int OffsetsMax = 1_000;

    private const sbyte KindDelayed = 0;
    private static readonly TimeSpan TimeLimit = TimeSpan.FromSeconds(30);

    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.ListPendingRecords;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        ListPendingRecordsRequest request, RequestContext context)
    {
        if (request.Kind != KindDelayed)
            return Refused($"Kind is {request.Kind}, but must be {KindDelayed} (delayed records).");
        if (request.Offsets.Count > OffsetsMax)
            return Refused($"There are {request.Offsets.Count} Offsets, but there may be {OffsetsMax}.");
        var response = new ListPendingRecordsResponse();
        using var limit = new CancellationTokenSource(TimeLimit, time);
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, context.Closing);
        var room = Math.Clamp(request.Limit, 0, EntriesMax);
        foreach (var (topic, indexes) in Asked(request, context))
        {
            var answer = new ListPendingRecordsResponse.TopicResponse { Name = topic };
            var allowed = authorizer.Topic(context, AclOperation.Describe, topic);
            foreach (var index in indexes)
            {
                var listed = allowed
                    ? await ListAsync(new TopicPartition(topic, index), request, room, ending.Token)
                        .ConfigureAwait(false)
                    : Failed(index, ErrorCode.TopicAuthorizationFailed);
                room -= listed.Entries.Count;
                // A schedule may have other things to do than delays.
                if (request.Topics.Count > 0 || listed.ErrorCode != ErrorCode.InvalidConfig)
                    answer.Partitions.Add(listed);
            }

            if (answer.Partitions.Count > 0)
                response.Topics.Add(answer);
        }

        return response;
    }

    private static ListPendingRecordsResponse Refused(string message) =>
        new() { ErrorCode = ErrorCode.InvalidRequest, ErrorMessage = message };

    private static ListPendingRecordsResponse.PartitionResponse Failed(
        int index, ErrorCode error, string? message = null) =>
        new() { PartitionIndex = index, ErrorCode = error, ErrorMessage = message };

    /// <summary>Topics with their partitions, in the order of the request; without one, by name.</summary>
    private IEnumerable<(string Topic, IReadOnlyList<int> Partitions)> Asked(
        ListPendingRecordsRequest request, RequestContext context)
    {
        if (request.Topics.Count == 0)
        {
            return delays.Partitions
                .Select(static p => p.TopicPartition)
                .GroupBy(static p => p.Topic, static p => p.Partition, StringComparer.Ordinal)
                .Where(topic => authorizer.Topic(context, AclOperation.Describe, topic.Key))
                .OrderBy(static topic => topic.Key, StringComparer.Ordinal)
                .Select(static topic => (topic.Key, (IReadOnlyList<int>)[.. topic.Order()]));
        }

        return request.Topics.Select(topic => (topic.Name, topic.PartitionIndexes.Count > 0
            ? (IReadOnlyList<int>)topic.PartitionIndexes
            : LedHere(topic.Name)));
    }

    /// <summary>The partitions of a topic that are led here; partition 0 when there is none, for its error.</summary>
    private int[] LedHere(string topic)
    {
        var led = partitions.All
            .Where(p => p.TopicPartition.Topic == topic && p.IsLeader)
            .Select(static p => p.TopicPartition.Partition)
            .Order()
            .ToArray();
        return led.Length > 0 ? led : [0];
    }

    private async ValueTask<ListPendingRecordsResponse.PartitionResponse> ListAsync(
        TopicPartition name, ListPendingRecordsRequest request, int room, CancellationToken cancellation)
    {
        var error = partitions.Find(name, out var partition);
        if (error == ErrorCode.None)
            error = partition!.CheckLeader(-1);
        if (error != ErrorCode.None)
            return Failed(name.Partition, error);
        var query = new PendingQuery
        {
            FromMs = request.FromMs,
            FromOffset = request.FromOffset,
            Offsets = request.Offsets,
            Limit = room,
        };
        PendingList? list;
        try
        {
            list = await delays.ListAsync(partition!, query, cancellation).WaitAsync(cancellation)
                .ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            return Failed(name.Partition, ErrorCode.RequestTimedOut, $"{name} is still being read.");
        }

        if (list is null || (list.Count == 0 && !partition!.Log.Config.DelayEnable))
            return Unknown(partition!);
        // Where other partitions took all the room, the entries go on where this request began.
        var isLeftOut = room == 0 && request.Limit > 0 && list.Count > 0;
        return Render(
            partition!, isLeftOut ? list with { Next = (request.FromMs, request.FromOffset) } : list);
    }

    /// <summary>Why a partition that is led here cannot tell what is pending.</summary>
    private static ListPendingRecordsResponse.PartitionResponse Unknown(Partition partition)
    {
        var (topic, index) = partition.TopicPartition;
        var error = partition.CheckLeader(-1);
        if (error != ErrorCode.None)
            return Failed(index, error);
        return partition.Log.Config.DelayEnable
            ? Failed(index, ErrorCode.KafkaStorageError, $"The log of {topic}-{index} cannot be read.")
            : Failed(
                index,
                ErrorCode.InvalidConfig,
                $"Topic {topic} allows no delays (kbroker.delay.enable is false), and none is pending.");
    }

    private static ListPendingRecordsResponse.PartitionResponse Render(Partition partition, PendingList list)
    {
        var response = new ListPendingRecordsResponse.PartitionResponse
        {
            PartitionIndex = partition.TopicPartition.Partition,
            IsEnabled = partition.Log.Config.DelayEnable,
            PendingCount = list.Count,
            NextDueMs = list.NextDueMs ?? -1,
            UpToOffset = list.UpToOffset,
            NextFromMs = list.Next?.FromMs ?? -1,
            NextFromOffset = list.Next?.FromOffset ?? -1,
        };
        foreach (var entry in list.Entries)
        {
            response.Entries.Add(new ListPendingRecordsResponse.PendingEntry
            {
                Offset = entry.Offset,
                DueMs = entry.DueMs,
                StoredOffset = entry.StoredOffset,
            });
        }

        return response;
    }
}
