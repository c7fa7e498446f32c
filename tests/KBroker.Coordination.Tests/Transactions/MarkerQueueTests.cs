using System.Buffers;
using KBroker.Coordination.Runtime;
using KBroker.Coordination.Tests.Runtime;
using KBroker.Coordination.Transactions;
using KBroker.Protocol;
using KBroker.Protocol.Records;
using KBroker.Storage;

namespace KBroker.Coordination.Tests.Transactions;

/// <summary>Markers that end several transactions at the same time, on real partitions.</summary>
public sealed class MarkerQueueTests
{
    private static readonly TopicPartition P0 = new(RuntimeHome.Topic, 0);
    private static readonly TopicPartition P1 = new(RuntimeHome.Topic, 1);

    [Fact]
    public async Task Markers_for_the_same_partition_share_a_write()
    {
        await using var home = await new RuntimeHome().StartAsync(2);
        var queue = new MarkerQueue(home.Partitions, TimeProvider.System);
        var written = new List<Task<ErrorCode>>();
        for (var id = 0; id < 10; id++)
        {
            Begin(home, id);
            written.Add(queue.Add(P0, End(id, isCommit: id % 2 == 0)));
            written.Add(queue.Add(P1, End(id)));
        }

        Assert.Equal(0, home.Partition().LastStableOffset);
        queue.Run();
        Assert.All(await Task.WhenAll(written), static error => Assert.Equal(ErrorCode.None, error));
        Assert.Equal(2, queue.Writes);
        Assert.Equal(20, home.Partition().LastStableOffset);
        Assert.Equal(20, home.Partition().Log.RecoveryPoint);
        Assert.Equal(Enumerable.Range(0, 10).Select(static id => (long)id), MarkersOf(home, 0));
        Assert.Equal([1, 3, 5, 7, 9], home.Partition().Log.GetAbortedTransactions(0, 20).Select(
            static t => t.ProducerId));
    }

    [Fact]
    public async Task A_marker_that_is_refused_keeps_no_other_out()
    {
        await using var home = await new RuntimeHome().StartAsync();
        Begin(home, 1);
        Begin(home, 2, epoch: 5);
        Begin(home, 3);
        var queue = new MarkerQueue(home.Partitions, TimeProvider.System);
        Task<ErrorCode>[] written =
        [
            queue.Add(P0, End(1)),
            queue.Add(P0, End(2, epoch: 4)),
            queue.Add(P0, End(3)),
            queue.Add(new TopicPartition("nothing", 0), End(1)),
        ];
        queue.Run();
        Assert.Equal(
            [ErrorCode.None, ErrorCode.InvalidProducerEpoch, ErrorCode.None, ErrorCode.UnknownTopicOrPartition],
            await Task.WhenAll(written));
        Assert.Equal([1, 3], MarkersOf(home, 0));
        Assert.Equal(1, home.Partition().LastStableOffset);
    }

    [Fact]
    public async Task A_second_marker_of_a_producer_is_judged_by_what_the_first_left()
    {
        await using var home = await new RuntimeHome().StartAsync();
        Begin(home, 1);
        var queue = new MarkerQueue(home.Partitions, TimeProvider.System);
        var newer = queue.Add(P0, End(1, epoch: 3));
        var older = queue.Add(P0, End(1, epoch: 2));
        queue.Run();
        Assert.Equal(ErrorCode.None, await newer);
        Assert.Equal(ErrorCode.InvalidProducerEpoch, await older);
    }

    [Fact]
    public async Task Both_protocols_keep_their_rules_side_by_side()
    {
        await using var home = await new RuntimeHome().StartAsync();
        Begin(home, 1, epoch: 2);
        Begin(home, 2, epoch: 2);
        Begin(home, 3, epoch: 2);
        var queue = new MarkerQueue(home.Partitions, TimeProvider.System);
        Task<ErrorCode>[] written =
        [
            queue.Add(P0, End(1, epoch: 2)),
            queue.Add(P0, End(2, epoch: 2) with { IsEpochBumped = true }),
            queue.Add(P0, End(3, epoch: 3) with { IsEpochBumped = true }),
        ];
        queue.Run();
        Assert.Equal(
            [ErrorCode.None, ErrorCode.InvalidProducerEpoch, ErrorCode.None], await Task.WhenAll(written));
    }

    [Fact]
    public async Task Whoever_adds_while_another_works_is_taken_along()
    {
        await using var home = await new RuntimeHome().StartAsync(2);
        var queue = new MarkerQueue(home.Partitions, TimeProvider.System);
        var errors = await Task.WhenAll(Enumerable.Range(0, 4).Select(thread => Task.Run(async () =>
        {
            var all = new List<ErrorCode>();
            for (var i = 0; i < 50; i++)
            {
                var end = End((thread * 1000) + i);
                var (one, other) = (queue.Add(P0, end), queue.Add(P1, end));
                queue.Run();
                all.Add(await one);
                all.Add(await other);
            }

            return all;
        })));
        Assert.All(errors.SelectMany(static e => e), static error => Assert.Equal(ErrorCode.None, error));
        Assert.Equal(200, MarkersOf(home, 0).Distinct().Count());
        Assert.Equal(200, MarkersOf(home, 1).Distinct().Count());
    }

    [Fact]
    public async Task A_disk_that_fails_is_told()
    {
        await using var home = await new RuntimeHome().StartAsync();
        Begin(home, 1);
        home.Files.Fault = static (operation, _) =>
            operation == Storage.Tests.FileOperation.Flush ? new IOException("the disk is gone") : null;
        var queue = new MarkerQueue(home.Partitions, TimeProvider.System);
        var written = queue.Add(P0, End(1));
        queue.Run();
        Assert.Equal(ErrorCode.KafkaStorageError, await written);
        home.Files.Fault = null;
        var again = queue.Add(P0, End(1));
        queue.Run();
        Assert.Equal(ErrorCode.KafkaStorageError, await again);
    }

    private static TransactionEnd End(long id, short epoch = 0, bool isCommit = true) =>
        new(id, epoch, 0, isCommit, IsEpochBumped: false);

    private static void Begin(RuntimeHome home, long id, short epoch = 0)
    {
        using var builder = new RecordBatchBuilder(RecordBatchOptions.Default with
        {
            ProducerId = id,
            ProducerEpoch = epoch,
            BaseSequence = 0,
            IsTransactional = true,
        });
        builder.Append(TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds(), null, new byte[10]);
        var appended = home.Partition().AppendAsLeader(
            new ReadOnlySequence<byte>(builder.Build().ToArray()), -1, AppendOptions.Client);
        Assert.Equal(ErrorCode.None, appended.Error);
    }

    private static List<long> MarkersOf(RuntimeHome home, int partition)
    {
        var markers = new List<long>();
        var bytes = new ReadOnlySequence<byte>(File.ReadAllBytes(home.LogFile(partition)));
        while (RecordBatches.Inspect(bytes, out var header) == RecordBatchStatus.Whole)
        {
            if (header.IsControl)
                markers.Add(header.ProducerId);
            bytes = bytes.Slice(header.SizeInBytes);
        }

        return markers;
    }
}
