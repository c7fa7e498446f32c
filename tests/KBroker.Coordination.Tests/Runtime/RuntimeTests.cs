using System.Buffers;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Records;
using KBroker.Storage;
using KBroker.Storage.Tests;
using Microsoft.Extensions.Logging;

namespace KBroker.Coordination.Tests.Runtime;

/// <summary>Shards on real partitions: when they answer, what a failure leaves, what a restart finds.</summary>
public sealed class RuntimeTests
{
    [Fact]
    public async Task No_answer_leaves_before_its_record_is_on_stable_storage()
    {
        await using var home = await new RuntimeHome().StartAsync();
        using var gate = new FlushGate(home);
        var write = home.WriteAsync("a");
        await RuntimeHome.Eventually(() => home.Partition().Log.LogEndOffset == 1, "the record is in the log");
        var read = home.ReadAsync();
        await gate.ReachedAsync(1);
        Assert.False(write.IsCompleted);
        Assert.False(read.IsCompleted);
        gate.Open();
        Assert.Equal(1, await write);
        Assert.Equal(["a"], await read);
    }

    [Fact]
    public async Task Steps_go_on_while_a_flush_runs_and_the_next_flush_covers_them()
    {
        await using var home = await new RuntimeHome().StartAsync();
        using var gate = new FlushGate(home);
        var first = home.WriteAsync("first");
        await gate.ReachedAsync(1);
        var others = Enumerable.Range(0, 50).Select(i => home.WriteAsync($"n{i}")).ToList();
        await RuntimeHome.Eventually(() => home.Partition().Log.LogEndOffset == 51, "all were appended");
        Assert.All(others, static write => Assert.False(write.IsCompleted));
        gate.Open();
        Assert.Equal(1, await first);
        Assert.Equal(Enumerable.Range(2, 50), await Task.WhenAll(others));
        Assert.InRange(gate.Reached, 2, 6);
    }

    [Fact]
    public async Task Reads_wait_only_for_what_was_written_before()
    {
        await using var home = await new RuntimeHome().StartAsync();
        using var gate = new FlushGate(home);
        Assert.Empty(await home.ReadAsync());
        Assert.Equal(0, gate.Reached);
    }

    [Fact]
    public async Task The_records_of_one_drain_share_a_batch()
    {
        await using var home = await new RuntimeHome().StartAsync();
        using var blocked = new ManualResetEventSlim();
        var first = home.Runtime.RunAsync<int>(0, (_, turn, reply) =>
        {
            blocked.Wait();
            turn.Append(NoteState.Record("first"));
            turn.Send(reply, 0);
        });
        var others = Enumerable.Range(0, 40).Select(i => home.WriteAsync($"n{i}")).ToList();
        blocked.Set();
        await first;
        await Task.WhenAll(others);
        Assert.Equal([41], Batches(home).Select(static batch => batch.RecordsCount));
        Assert.Equal(Enumerable.Range(0, 41).Select(static i => (long)i), home.States[^1].Offsets);
    }

    [Fact]
    public async Task A_turn_that_is_larger_than_a_batch_takes_several()
    {
        await using var home = await new RuntimeHome(
            CompressionType.None, ("max.message.bytes", "1000")).StartAsync();
        var count = await home.Runtime.RunAsync<int>(0, (state, turn, reply) =>
        {
            for (var i = 0; i < 100; i++)
                turn.Append(NoteState.Record($"note number {i}"));
            turn.Send(reply, state.Notes.Count);
        });
        Assert.Equal(100, count);
        Assert.All(Batches(home), static batch => Assert.InRange(batch.SizeInBytes, 1, 1000));
        Assert.Equal(100, Batches(home).Sum(static batch => batch.RecordsCount));
        await home.RestartAsync(isPowerCut: true);
        Assert.Equal(Enumerable.Range(0, 100).Select(static i => $"note number {i}"), await home.ReadAsync());
    }

    [Fact]
    public async Task A_record_that_is_too_large_is_refused_and_the_state_is_what_the_log_says()
    {
        await using var home = await new RuntimeHome(
            CompressionType.None, ("max.message.bytes", "1000")).StartAsync();
        await home.WriteAsync("kept");
        await FailsAsync(ErrorCode.UnknownServerError, home.WriteAsync(new string('x', 2000)));
        Assert.Equal(["kept"], await home.ReadAgainAsync());
        Assert.Equal(2, await home.WriteAsync("next"));
        Assert.Contains("loaded anew", Assert.Single(home.Log.Errors));
    }

    [Fact]
    public async Task A_step_that_throws_fails_alone_unless_it_has_appended()
    {
        await using var home = await new RuntimeHome().StartAsync();
        await home.WriteAsync("kept");
        var refused = home.Runtime.RunAsync<int>(
            0, (_, _, _) => throw new CoordinatorException(ErrorCode.IllegalGeneration, "why"));
        Assert.Equal("why", (await FailsAsync(ErrorCode.IllegalGeneration, refused)).ClientMessage);
        await FailsAsync(
            ErrorCode.UnknownServerError,
            home.Runtime.RunAsync<int>(0, (_, _, _) => throw new InvalidOperationException("a bug")));
        Assert.Single(home.States);
        await FailsAsync(ErrorCode.UnknownServerError, home.Runtime.RunAsync<int>(0, (_, turn, _) =>
        {
            turn.Append(NoteState.Record("half"));
            throw new CoordinatorException(ErrorCode.IllegalGeneration);
        }));
        Assert.Equal(["kept"], await home.ReadAgainAsync());
        Assert.Equal(2, home.States.Count);
    }

    [Fact]
    public async Task A_write_that_fails_fails_the_answers_and_the_shard_serves_no_more()
    {
        await using var home = await new RuntimeHome().StartAsync();
        await home.WriteAsync("kept");
        home.Files.Fault = static (operation, path) =>
            operation == FileOperation.Write && path.EndsWith(".log", StringComparison.Ordinal)
                ? new IOException("EIO") : null;
        await FailsAsync(ErrorCode.NotCoordinator, home.WriteAsync("lost"));
        await FailsAsync(ErrorCode.NotCoordinator, home.ReadAsync());
        await home.RestartAsync(isPowerCut: true);
        Assert.Equal(["kept"], await home.ReadAsync());
    }

    [Fact]
    public async Task A_flush_that_fails_fails_everything_that_waits_for_it()
    {
        await using var home = await new RuntimeHome().StartAsync();
        await home.WriteAsync("kept");
        home.Files.Fault = static (operation, _) => operation is FileOperation.Flush or FileOperation.FlushAll
            ? new IOException("EIO") : null;
        var writes = Enumerable.Range(0, 20).Select(i => home.WriteAsync($"n{i}")).ToList();
        foreach (var write in writes)
            await FailsAsync(ErrorCode.NotCoordinator, write);
        await FailsAsync(ErrorCode.NotCoordinator, home.ReadAsync());
        await home.RestartAsync(isPowerCut: true);
        Assert.Equal("kept", (await home.ReadAsync())[0]);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task What_was_acknowledged_survives_power_cuts(int seed)
    {
        var random = new Random(seed);
        await using var home = await new RuntimeHome().StartAsync(3);
        var acknowledged = new List<(int Shard, string Note)>();
        for (var round = 0; round < 6; round++)
        {
            var writes = Enumerable.Range(0, 60).Select(i => (Shard: i % 3, Note: $"{round}/{i}"))
                .Select(w => (w.Shard, w.Note, Task: home.WriteAsync(w.Note, w.Shard))).ToList();
            await Task.WhenAll(writes.Take(random.Next(60)).Select(static w => w.Task));
            var before = writes.Where(static w => w.Task.IsCompletedSuccessfully)
                .Select(static w => (w.Shard, w.Note)).ToList();
            acknowledged.AddRange(before);
            await home.RestartAsync(isPowerCut: true, random);
            for (var shard = 0; shard < 3; shard++)
            {
                var notes = await home.ReadAsync(shard);
                Assert.Equal(notes.Distinct(), notes);
                var kept = acknowledged.Where(a => a.Shard == shard).Select(static a => a.Note).ToList();
                Assert.Equal(kept, notes.Where(kept.Contains));
            }

            await Task.WhenAll(writes.Select(static w => w.Task.ContinueWith(static _ => { }, TaskScheduler.Default)));
        }
    }

    [Fact]
    public async Task Answers_wait_for_the_replicas()
    {
        await using var home = await new RuntimeHome().StartAsync();
        home.SetIsr(1, 2);
        var write = home.WriteAsync("a");
        await RuntimeHome.Eventually(() => home.Partition().Log.RecoveryPoint == 1, "the record is flushed");
        Assert.False(write.IsCompleted);
        home.SetIsr(1);
        Assert.Equal(1, await write);
    }

    [Fact]
    public async Task A_shard_that_lost_its_partition_refers_to_another_coordinator()
    {
        await using var home = await new RuntimeHome().StartAsync();
        await home.WriteAsync("kept");
        var waiting = home.Runtime.RunAsync<int>(0, (state, _, reply) => state.Waiting = reply);
        Assert.Empty((await home.ReadAsync()).Skip(1));
        home.SetIsr(1, 2);
        var unreplicated = home.WriteAsync("never");
        await RuntimeHome.Eventually(() => home.Partition().Log.LogEndOffset == 2, "the record is in the log");
        home.SetLeader(2);
        await FailsAsync(ErrorCode.NotCoordinator, waiting);
        await FailsAsync(ErrorCode.NotCoordinator, unreplicated);
        await FailsAsync(ErrorCode.NotCoordinator, home.ReadAsync());
        home.SetLeader(1);
        Assert.Equal("kept", (await home.ReadAgainAsync())[0]);
        Assert.Equal(2, home.States.Count);
    }

    [Fact]
    public async Task A_new_epoch_of_the_same_leader_loads_the_shard_anew()
    {
        await using var home = await new RuntimeHome().StartAsync();
        await home.WriteAsync("kept");
        home.SetLeader(1);
        await RuntimeHome.Eventually(() => home.States.Count == 2 && home.States[1].WasLoaded, "loaded again");
        Assert.Equal(["kept"], await home.ReadAsync());
        Assert.Equal(2, await home.WriteAsync("next"));
        Assert.Equal([1, 2], Batches(home).Select(static b => b.PartitionLeaderEpoch));
    }

    [Fact]
    public async Task A_deleted_topic_has_no_coordinator()
    {
        await using var home = await new RuntimeHome().StartAsync();
        home.DeleteTopic();
        await FailsAsync(ErrorCode.NotCoordinator, home.WriteAsync("a"));
        Assert.Empty(home.Runtime.Shards);
    }

    [Fact]
    public async Task A_shard_that_loads_asks_clients_to_come_again()
    {
        await using var home = await new RuntimeHome().StartAsync();
        await home.WriteAsync("a");
        await home.WriteAsync("b");
        using var blocked = new ManualResetEventSlim();
        home.OnReplay = note =>
        {
            if (note == "b")
                blocked.Wait();
        };
        home.SetLeader(1);
        await FailsAsync(ErrorCode.CoordinatorLoadInProgress, home.WriteAsync("c"));
        await FailsAsync(
            ErrorCode.CoordinatorLoadInProgress,
            home.Runtime.RunOnAllAsync((state, _) => state.Notes.Count));
        blocked.Set();
        Assert.Equal(["a", "b"], await home.ReadAgainAsync());
    }

    [Fact]
    public async Task A_damaged_log_makes_its_shard_unavailable_and_no_other()
    {
        await using var home = await new RuntimeHome().StartAsync(2);
        await home.WriteAsync("a", 0);
        await home.WriteAsync("b", 0);
        await home.WriteAsync("c", 1);
        var partition = home.Partition();
        var good = partition.Log.SizeInBytes;
        var key = new byte[] { 0, 1, 0, 9, (byte)'x' };
        Assert.Equal(ErrorCode.None, AppendRaw(home, key, [0, 4]));
        await FailsAsync(ErrorCode.CoordinatorLoadInProgress, home.WriteAsync("d", 0));
        await FailsAsync(ErrorCode.NotCoordinator, home.ReadAgainAsync());
        Assert.Equal(["c"], await home.ReadAsync(1));
        Assert.Contains(
            home.Log.Errors,
            static line => line.Contains("notes-0 cannot be loaded") && line.Contains("offset 2 "));
        Assert.True(partition.Log.SizeInBytes > good);
        Assert.Equal(["c"], Assert.Single(await home.Runtime.RunOnAllAsync((state, _) => state.Notes)));
    }

    [Fact]
    public async Task Records_of_unknown_types_are_left_out()
    {
        await using var home = await new RuntimeHome().StartAsync();
        await home.WriteAsync("a");
        Assert.Equal(ErrorCode.None, AppendRaw(home, [0x7f, 0xff, 1], [0, 0]));
        await FailsAsync(ErrorCode.CoordinatorLoadInProgress, home.WriteAsync("b"));
        await home.ReadAgainAsync();
        await home.WriteAsync("c");
        Assert.Equal(["a", "c"], await home.ReadAsync());
        Assert.Contains(home.Log.Of(LogLevel.Warning), static line => line.Contains("unknown type 32767"));
    }

    [Fact]
    public async Task Records_of_a_transaction_hold_with_its_marker()
    {
        await using var home = await new RuntimeHome().StartAsync();
        var committing = Verified(home, 7, 1);
        var aborting = Verified(home, 8, 0);
        await WriteAsync(home, committing, "committed");
        await WriteAsync(home, aborting, "aborted");
        await home.WriteAsync("plain");
        Assert.Equal(["plain"], await home.ReadAsync());
        Assert.Equal(0, home.Partition().LastStableOffset);
        await home.RestartAsync(isPowerCut: false);
        Assert.Equal(["plain"], await home.ReadAsync());
        await home.Runtime.EndTransactionAsync(0, new TransactionEnd(7, 1, 5, IsCommit: true, IsEpochBumped: false));
        await home.Runtime.EndTransactionAsync(0, new TransactionEnd(8, 0, 5, IsCommit: false, IsEpochBumped: false));
        Assert.Equal(["plain", "committed"], await home.ReadAsync());
        Assert.Equal(5, home.Partition().LastStableOffset);
        Assert.Equal(
            [(true, false, 7L), (true, false, 8L), (false, false, -1L), (true, true, 7L), (true, true, 8L)],
            Batches(home).Select(static b => (b.IsTransactional, b.IsControl, b.ProducerId)));
        await home.RestartAsync(isPowerCut: true);
        Assert.Equal(["plain", "committed"], await home.ReadAsync());
    }

    [Fact]
    public async Task What_comes_too_late_for_its_transaction_is_refused_and_harms_nobody()
    {
        await using var home = await new RuntimeHome().StartAsync();
        await FailsAsync(ErrorCode.InvalidTxnState, WriteAsync(home, new TransactionProducer(7, 1), "unverified"));
        var producer = Verified(home, 7, 1);
        await home.Runtime.EndTransactionAsync(0, new TransactionEnd(7, 1, 5, IsCommit: false, IsEpochBumped: false));
        await FailsAsync(ErrorCode.InvalidTxnState, WriteAsync(home, producer, "late"));
        await FailsAsync(
            ErrorCode.InvalidProducerEpoch,
            home.Runtime.EndTransactionAsync(0, new TransactionEnd(7, 0, 5, IsCommit: true, IsEpochBumped: false)));
        await FailsAsync(
            ErrorCode.TransactionCoordinatorFenced,
            home.Runtime.EndTransactionAsync(0, new TransactionEnd(7, 1, 4, IsCommit: true, IsEpochBumped: false)));
        await home.WriteAsync("plain");
        Assert.Equal(["plain"], await home.ReadAsync());
        Assert.Empty(home.Log.Errors);
    }

    [Theory]
    [InlineData(CompressionType.Gzip)]
    [InlineData(CompressionType.Snappy)]
    public async Task Compressed_records_are_read_again(CompressionType compression)
    {
        await using var home = await new RuntimeHome(compression, ("compression.type", "producer")).StartAsync();
        await Task.WhenAll(Enumerable.Range(0, 100).Select(i => home.WriteAsync($"n{i}")));
        Assert.All(Batches(home), batch => Assert.Equal(compression, batch.Compression));
        await home.RestartAsync(isPowerCut: true);
        Assert.Equal(Enumerable.Range(0, 100).Select(static i => $"n{i}"), await home.ReadAsync());
    }

    [Fact]
    public async Task A_stop_fails_who_waits_and_answers_what_was_appended()
    {
        await using var home = await new RuntimeHome().StartAsync();
        var waiting = home.Runtime.RunAsync<int>(0, (state, _, reply) => state.Waiting = reply);
        using var gate = new FlushGate(home);
        var write = home.WriteAsync("a");
        await gate.ReachedAsync(1);
        var stopped = home.Runtime.StopAsync();
        await FailsAsync(ErrorCode.NotCoordinator, waiting);
        Assert.False(stopped.IsCompleted);
        gate.Open();
        Assert.Equal(1, await write);
        await stopped;
        await FailsAsync(ErrorCode.CoordinatorNotAvailable, home.WriteAsync("b"));
        await FailsAsync(
            ErrorCode.CoordinatorNotAvailable, home.Runtime.RunOnAllAsync((state, _) => state.Notes.Count));
    }

    [Fact]
    public async Task Metadata_reaches_every_shard_in_order()
    {
        await using var home = await new RuntimeHome().StartAsync(2);
        for (var i = 0; i < 5; i++)
            home.SetIsr(1);
        Assert.Equal([5, 5], await home.Runtime.RunOnAllAsync((state, _) => state.Updates));
    }

    /// <summary>A producer whose transaction the coordinator has consented to.</summary>
    private static TransactionProducer Verified(RuntimeHome home, long id, short epoch) =>
        new(id, epoch, home.Partition().Log.BeginVerification(id, epoch, 0, isEpochBumped: false));

    private static async Task<CoordinatorException> FailsAsync(ErrorCode error, Task task)
    {
        var failure = await Assert.ThrowsAsync<CoordinatorException>(() => task);
        Assert.Equal(error, failure.Error);
        return failure;
    }

    private static Task<bool> WriteAsync(RuntimeHome home, TransactionProducer producer, string note) =>
        home.Runtime.RunAsync<bool>(0, producer, (_, turn, reply) =>
        {
            turn.Append(NoteState.Record(note));
            turn.Send(reply, true);
        });

    private static ErrorCode AppendRaw(RuntimeHome home, byte[] key, byte[] value)
    {
        using var builder = new RecordBatchBuilder(RecordBatchOptions.Default);
        builder.Append(1, key, value);
        return home.Partition().AppendAsLeader(
            new ReadOnlySequence<byte>(builder.Build()), -1, AppendOptions.Coordinator).Error;
    }

    private static List<RecordBatchHeader> Batches(RuntimeHome home)
    {
        var log = home.Partition().Log;
        using var records = log.Read(0, int.MaxValue, long.MaxValue, minOneMessage: true).Records;
        List<RecordBatchHeader> headers = [];
        foreach (var batch in RecordBatches.Enumerate(new ReadOnlySequence<byte>(records.ToArray())))
            headers.Add(batch.Header);
        return headers;
    }

    /// <summary>Holds every flush until it is opened.</summary>
    private sealed class FlushGate : IDisposable
    {
        private readonly ManualResetEventSlim _open = new();
        private int _reached;

        public FlushGate(RuntimeHome home) => home.Files.Fault = (operation, _) =>
        {
            if (operation is not (FileOperation.Flush or FileOperation.FlushAll))
                return null;
            Interlocked.Increment(ref _reached);
            _open.Wait();
            return null;
        };

        public int Reached => Volatile.Read(ref _reached);

        public Task ReachedAsync(int count) =>
            RuntimeHome.Eventually(() => Reached >= count, $"{count} flushes have begun");

        public void Open() => _open.Set();

        public void Dispose() => _open.Set();
    }
}
