using System.Buffers;
using System.Collections.Concurrent;
using KBroker.Cluster.Replication;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Storage;
using KBroker.Storage.Crashing;

namespace KBroker.Coordination.Transactions;

/// <summary>
/// Appends markers to the partitions of this broker; those for the same partition that come at the same time in one
/// write. Nobody waits for company: whoever finds the queue idle appends at once, and takes along what the others bring
/// meanwhile.
/// </summary>
/// <remarks>
/// Example: the decisions of 16 transactions over the same four partitions become durable by one flush. The first of
/// them appends its four markers; until it is done, the fifteen others have put theirs into the queue; it appends
/// those, too, fifteen with each write. All of them wait for the same flush then.
/// </remarks>
/// <param name="partitions">The partitions of this broker.</param>
/// <param name="time">The clock.</param>
internal sealed class MarkerQueue(PartitionRegistry partitions, TimeProvider time)
{
    /// <summary>Most markers of one round: a bound of its memory, and of the size of a write.</summary>
    private const int MarkersOfRoundMax = 1024;

    private readonly ConcurrentQueue<Marker> _waiting = new();
    private int _isRunning;

    /// <summary>How many writes were made, for tests.</summary>
    internal long Writes { get; private set; }

    /// <summary>Puts a marker into the queue; <see cref="Run"/> must follow.</summary>
    /// <param name="topicPartition">Where it goes.</param>
    /// <param name="end">What it says.</param>
    /// <returns>None once it is replicated and on stable storage, or why it is not written.</returns>
    public Task<ErrorCode> Add(TopicPartition topicPartition, TransactionEnd end)
    {
        var marker = new Marker(topicPartition, end);
        _waiting.Enqueue(marker);
        return marker.Written.Task;
    }

    /// <summary>Appends what waits, unless somebody does already, who then takes it along.</summary>
    public void Run()
    {
        while (!_waiting.IsEmpty && Interlocked.CompareExchange(ref _isRunning, 1, 0) == 0)
        {
            try
            {
                RunRound();
            }
            finally
            {
                Volatile.Write(ref _isRunning, 0);
                // Who added meanwhile found somebody at work.
                Interlocked.MemoryBarrier();
            }
        }
    }

    private void RunRound()
    {
        var round = new Dictionary<TopicPartition, List<Marker>>();
        for (var i = 0; i < MarkersOfRoundMax && _waiting.TryDequeue(out var marker); i++)
        {
            if (!round.TryGetValue(marker.TopicPartition, out var markers))
                round[marker.TopicPartition] = markers = [];
            markers.Add(marker);
        }

        foreach (var (topicPartition, markers) in round)
        {
            try
            {
                Append(topicPartition, markers);
            }
            catch (Exception failure)
            {
                foreach (var marker in markers)
                    marker.Written.TrySetException(failure);
            }
        }
    }

    private void Append(TopicPartition topicPartition, List<Marker> markers)
    {
        var error = partitions.Find(topicPartition, out var partition);
        if (error != ErrorCode.None)
        {
            markers.ForEach(marker => marker.Written.TrySetResult(error));
            return;
        }

        // One protocol a write; and what a producer's marker means depends on its marker before, which must be there.
        foreach (var group in markers.GroupBy(static marker => marker.End.IsEpochBumped))
        {
            var together = group.DistinctBy(static marker => marker.End.ProducerId).ToList();
            if (!TryAppend(partition!, together))
                together.ForEach(marker => TryAppend(partition!, [marker]));
            foreach (var later in group.Except(together))
                TryAppend(partition!, [later]);
        }
    }

    /// <summary>Appends markers in one write.</summary>
    /// <returns>False when one of several was refused, which keeps all of them out.</returns>
    private bool TryAppend(Partition partition, List<Marker> markers)
    {
        Writes++;
        var nowMs = time.GetUtcNow().ToUnixTimeMilliseconds();
        var bytes = markers.Count == 1
            ? markers[0].End.ToMarker(nowMs)
            : [.. markers.SelectMany(marker => marker.End.ToMarker(nowMs))];
        var appended = partition.AppendAsLeader(
            new ReadOnlySequence<byte>(bytes),
            requiredAcks: -1,
            AppendOptions.Coordinator with { IsEpochBumped = markers[0].End.IsEpochBumped });
        if (appended.Error == ErrorCode.None)
        {
            CrashPoint.Reached("txn.marker-appended", markers[0].End.IsCommit ? "commit" : "abort");
            _ = CompleteAsync(partition, appended.Append.NextOffset, markers);
        }
        else if (markers.Count == 1)
        {
            markers[0].Written.TrySetResult(appended.Error);
        }
        else
        {
            return false;
        }

        return true;
    }

    private static async Task CompleteAsync(Partition partition, long nextOffset, List<Marker> markers)
    {
        var error = ErrorCode.None;
        try
        {
            await partition.WaitDurableAsync(nextOffset).ConfigureAwait(false);
        }
        catch (StorageException)
        {
            error = ErrorCode.KafkaStorageError;
        }

        foreach (var marker in markers)
            marker.Written.TrySetResult(error);
    }

    private sealed record Marker(TopicPartition TopicPartition, TransactionEnd End)
    {
        // Whoever waits must not run in the middle of a round.
        public TaskCompletionSource<ErrorCode> Written { get; } =
            new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
