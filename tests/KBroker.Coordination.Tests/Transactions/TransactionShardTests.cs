using KBroker.Coordination.Transactions;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Storage;

namespace KBroker.Coordination.Tests.Transactions;

public sealed class TransactionShardTests
{
    private const short Classic = TransactionProtocol.Classic;
    private const short Bump = TransactionProtocol.EpochBump;
    private static readonly TopicPartition A0 = new("a", 0);
    private static readonly TopicPartition A1 = new("a", 1);

    /// <summary>Nobody waits for a transaction to be complete; see <see cref="CompletionWaiterTests"/>.</summary>
    private readonly TransactionDriver _driver = new(("add.partitions.to.txn.retry.backoff.max.ms", "0"));

    private TransactionEntry Entry => _driver.Shard.Find("t")!;

    [Fact]
    public async Task A_new_id_needs_a_fresh_producer_id_and_starts_with_epoch_0()
    {
        Assert.True((await Init(fresh: -1)).NeedsProducerId);
        Assert.Empty(_driver.Log);
        Assert.Equal(new ProducerOutcome(ErrorCode.None, 7, 0), await Init(fresh: 7));
        Assert.Equal(TransactionState.Empty, Entry.State);
        Assert.Equal(new ProducerOutcome(ErrorCode.None, 7, 1), await Init());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-5)]
    [InlineData(900_001)]
    public async Task A_timeout_out_of_bounds_is_refused(int timeoutMs) =>
        Assert.Equal(ErrorCode.InvalidTransactionTimeout, (await Init(fresh: 7, timeoutMs: timeoutMs)).Error);

    [Fact]
    public async Task A_producer_that_continues_gets_the_next_epoch_and_the_same_answer_when_it_asks_again()
    {
        await Init(fresh: 7);
        Assert.Equal(1, (await Init(id: 7, epoch: 0)).Epoch);
        Assert.Equal(1, (await Init(id: 7, epoch: 0)).Epoch);
        Assert.Equal(2, (await Init(id: 7, epoch: 1)).Epoch);
        Assert.Equal(ErrorCode.ProducerFenced, (await Init(id: 7, epoch: 0)).Error);
        Assert.Equal(ErrorCode.ProducerFenced, (await Init(id: 8, epoch: 2)).Error);
        Assert.Equal(3, (await Init()).Epoch);
        Assert.Equal(ErrorCode.ProducerFenced, (await Init(id: 7, epoch: 2)).Error);
    }

    [Fact]
    public async Task When_the_epochs_are_used_up_there_is_a_new_producer_id()
    {
        await Init(fresh: 7);
        Entry.Epoch = short.MaxValue - 1;
        Assert.True((await Init(id: 7, epoch: short.MaxValue - 1)).NeedsProducerId);
        Assert.Equal(new ProducerOutcome(ErrorCode.None, 8, 0), await Init(8, id: 7, epoch: short.MaxValue - 1));
        Assert.Equal(7, Entry.PreviousProducerId);
        // The answer was lost, and the producer asks again.
        Assert.Equal(new ProducerOutcome(ErrorCode.None, 8, 0), await Init(9, id: 7, epoch: short.MaxValue - 1));
    }

    [Fact]
    public async Task Partitions_are_taken_from_the_current_incarnation_only()
    {
        Assert.Equal(ErrorCode.InvalidProducerIdMapping, await Add(7, 0, A0));
        await Init(fresh: 7);
        Assert.Equal(ErrorCode.InvalidProducerIdMapping, await Add(8, 0, A0));
        Assert.Equal(ErrorCode.ProducerFenced, await Add(7, 1, A0));
        Assert.Equal(ErrorCode.None, await Add(7, 0, A0));
        var records = _driver.Log.Count;
        Assert.Equal(ErrorCode.None, await Add(7, 0, A0));
        Assert.Equal(records, _driver.Log.Count);
        Assert.Equal([ErrorCode.None, ErrorCode.TransactionAbortable], await Verify(7, 0, A0, A1));
        Assert.Equal([ErrorCode.ProducerFenced], await Verify(7, 1, A0));
    }

    [Theory]
    [InlineData(Classic, true)]
    [InlineData(Classic, false)]
    [InlineData(Bump, true)]
    [InlineData(Bump, false)]
    public async Task A_transaction_ends_when_its_markers_are_written(short protocol, bool isCommit)
    {
        await Init(fresh: 7);
        await Add(7, 0, A0, A1, protocol: protocol);
        var ended = await End(7, 0, isCommit, protocol);
        var epoch = protocol == Bump ? (short)1 : (short)0;
        Assert.Equal(new ProducerOutcome(ErrorCode.None, 7, epoch), ended);
        var work = await _driver.NextMarkersAsync();
        Assert.Equal((7L, epoch, isCommit), (work.ProducerId, work.ProducerEpoch, work.IsCommit));
        Assert.Equal(3, work.CoordinatorEpoch);
        Assert.Equal([A0, A1], work.Partitions.OrderBy(static p => p.Partition));
        Assert.Equal(ErrorCode.ConcurrentTransactions, await Add(7, epoch, A0));
        Assert.Equal(ErrorCode.ConcurrentTransactions, (await End(7, 0, isCommit, protocol)).Error);
        Assert.Equal(ErrorCode.InvalidTxnState, (await End(7, 0, !isCommit, protocol)).Error);
        Assert.Equal(ErrorCode.ConcurrentTransactions, (await Init()).Error);
        Written(work);
        Assert.Equal(isCommit ? TransactionState.CompleteCommit : TransactionState.CompleteAbort, Entry.State);
        // Once more: the answer was lost.
        Assert.Equal(ended, await End(7, 0, isCommit, protocol));
        Assert.Equal(ErrorCode.InvalidTxnState, (await End(7, 0, !isCommit, protocol)).Error);
        Assert.Equal(ErrorCode.None, await Add(7, epoch, A1));
        Assert.Equal([A1], Entry.Partitions);
    }

    [Fact]
    public async Task With_the_newer_protocol_a_transaction_of_nothing_can_be_aborted_but_not_committed()
    {
        await Init(fresh: 7);
        Assert.Equal(ErrorCode.InvalidTxnState, (await End(7, 0, true, Bump)).Error);
        Assert.Equal(new ProducerOutcome(ErrorCode.None, 7, 1), await End(7, 0, false, Bump));
        Assert.Equal(TransactionState.CompleteAbort, Entry.State);
        Assert.Equal(new ProducerOutcome(ErrorCode.None, 7, 2), await End(7, 1, false, Bump));
        Assert.False(_driver.HasMarkers);
    }

    [Fact]
    public async Task With_the_newer_protocol_the_last_epoch_leads_to_another_producer_id()
    {
        await Init(fresh: 7);
        Entry.Epoch = short.MaxValue - 1;
        await Add(7, short.MaxValue - 1, A0, protocol: Bump);
        Assert.True((await End(7, short.MaxValue - 1, true, Bump)).NeedsProducerId);
        Assert.Equal(TransactionState.Ongoing, Entry.State);
        var ended = await End(7, short.MaxValue - 1, true, Bump, fresh: 8);
        Assert.Equal(new ProducerOutcome(ErrorCode.None, 8, 0), ended);
        var work = await _driver.NextMarkersAsync();
        Assert.Equal((7L, short.MaxValue), (work.ProducerId, work.ProducerEpoch));
        Written(work);
        Assert.Equal((8L, (short)0), (Entry.ProducerId, Entry.Epoch));
        Assert.Equal(ended, await End(7, short.MaxValue - 1, true, Bump));
    }

    [Fact]
    public async Task A_second_instance_aborts_the_transaction_of_the_first()
    {
        await Init(fresh: 7);
        await Add(7, 0, A0);
        Assert.Equal(ErrorCode.ConcurrentTransactions, (await Init()).Error);
        var work = await _driver.NextMarkersAsync();
        Assert.Equal((false, (short)1), (work.IsCommit, work.ProducerEpoch));
        Assert.Equal(ErrorCode.ProducerFenced, (await End(7, 0, true, Classic)).Error);
        Written(work);
        Assert.Equal(2, (await Init()).Epoch);
        Assert.Equal(ErrorCode.ProducerFenced, await Add(7, 0, A0));
    }

    [Fact]
    public async Task A_transaction_that_takes_too_long_is_aborted_and_its_producer_fenced()
    {
        await Init(fresh: 7, timeoutMs: 1000);
        await Add(7, 0, A0);
        _driver.Advance(600);
        await Add(7, 0, A1);
        _driver.Advance(399);
        Assert.Equal(TransactionState.Ongoing, Entry.State);
        _driver.Advance(1);
        var work = await _driver.NextMarkersAsync();
        Assert.Equal((false, (short)1), (work.IsCommit, work.ProducerEpoch));
        Assert.Equal(ErrorCode.ProducerFenced, await Add(7, 0, A0));
        Written(work);
        Assert.Equal(TransactionState.CompleteAbort, Entry.State);
    }

    /// <summary>KIP-588; Apache Kafka 4.3.1 gives these very answers.</summary>
    [Fact]
    public async Task A_producer_whose_transaction_timed_out_goes_on_with_the_epoch_that_fenced_it()
    {
        await Init(fresh: 7, timeoutMs: 1000);
        await Add(7, 0, A0);
        _driver.Advance(1000);
        Written(await _driver.NextMarkersAsync());
        Assert.Equal(ErrorCode.ProducerFenced, (await End(7, 0, true, Classic)).Error);
        Assert.Equal(new ProducerOutcome(ErrorCode.None, 7, 1), await Init(id: 7, epoch: 0));
        Assert.Equal(new ProducerOutcome(ErrorCode.None, 7, 1), await Init(id: 7, epoch: 0));
        Assert.Equal(ErrorCode.None, await Add(7, 1, A0));
    }

    /// <summary>As librdkafka does after an error of its own; Apache Kafka 4.3.1 gives these very answers.</summary>
    [Fact]
    public async Task A_producer_that_asks_for_its_next_epoch_aborts_its_transaction_and_gets_it()
    {
        await Init(fresh: 7);
        await Add(7, 0, A0);
        Assert.Equal(ErrorCode.ConcurrentTransactions, (await Init(id: 7, epoch: 0)).Error);
        var work = await _driver.NextMarkersAsync();
        Assert.Equal((false, (short)1), (work.IsCommit, work.ProducerEpoch));
        Written(work);
        Assert.Equal(new ProducerOutcome(ErrorCode.None, 7, 1), await Init(id: 7, epoch: 0));
        Assert.Equal(2, (await Init()).Epoch);
        // Another instance has taken over.
        Assert.Equal(ErrorCode.ProducerFenced, (await Init(id: 7, epoch: 0)).Error);
    }

    [Fact]
    public async Task A_producer_that_the_highest_epoch_has_fenced_goes_on_with_another_id()
    {
        await Init(fresh: 7, timeoutMs: 1000);
        Entry.Epoch = short.MaxValue - 1;
        await Add(7, short.MaxValue - 1, A0);
        _driver.Advance(1000);
        Written(await _driver.NextMarkersAsync());
        Assert.Equal(short.MaxValue, Entry.Epoch);
        Assert.True((await Init(id: 7, epoch: short.MaxValue - 1)).NeedsProducerId);
        Assert.Equal(new ProducerOutcome(ErrorCode.None, 8, 0), await Init(8, id: 7, epoch: short.MaxValue - 1));
        Assert.Equal(new ProducerOutcome(ErrorCode.None, 8, 0), await Init(9, id: 7, epoch: short.MaxValue - 1));
    }

    [Fact]
    public async Task A_timeout_concerns_its_own_transaction_only()
    {
        await Init(fresh: 7, timeoutMs: 1000);
        await Add(7, 0, A0);
        _driver.Advance(900);
        await End(7, 0, true, Classic);
        Written(await _driver.NextMarkersAsync());
        await Add(7, 0, A0);
        _driver.Advance(900);
        Assert.Equal(TransactionState.Ongoing, Entry.State);
        _driver.Advance(100);
        Assert.Equal(TransactionState.PrepareAbort, Entry.State);
    }

    [Fact]
    public async Task After_a_restart_decided_transactions_are_ended_and_open_ones_time_out()
    {
        await Init(fresh: 7, timeoutMs: 1000);
        await Add(7, 0, A0, A1, protocol: Bump);
        await End(7, 0, true, Bump);
        Assert.Equal(2, (await _driver.NextMarkersAsync()).Partitions.Count);
        _driver.Reload();
        var again = await _driver.NextMarkersAsync();
        Assert.Equal((true, (short)1, 2), (again.IsCommit, again.ProducerEpoch, again.Partitions.Count));
        Written(again);
        Assert.Equal(TransactionState.CompleteCommit, Entry.State);
        await Add(7, 1, A0, protocol: Bump);
        _driver.Advance(500);
        _driver.Reload();
        _driver.Advance(499);
        Assert.Equal(TransactionState.Ongoing, Entry.State);
        _driver.Advance(1);
        Assert.Equal(TransactionState.PrepareAbort, Entry.State);
    }

    [Theory]
    [InlineData(Classic)]
    [InlineData(Bump)]
    public async Task After_a_restart_a_repeated_end_is_still_answered_as_the_first(short protocol)
    {
        await Init(fresh: 7);
        await Add(7, 0, A0, protocol: protocol);
        var ended = await End(7, 0, true, protocol);
        Written(await _driver.NextMarkersAsync());
        _driver.Reload();
        Assert.Equal(ended, await End(7, 0, true, protocol));
        Assert.Equal(ErrorCode.InvalidTxnState, (await End(7, 0, false, protocol)).Error);
    }

    [Fact]
    public async Task After_a_restart_the_next_producer_id_is_the_one_that_was_promised()
    {
        await Init(fresh: 7);
        Entry.Epoch = short.MaxValue - 1;
        await Add(7, short.MaxValue - 1, A0, protocol: Bump);
        var ended = await End(7, short.MaxValue - 1, true, Bump, fresh: 8);
        await _driver.NextMarkersAsync();
        _driver.Reload();
        Written(await _driver.NextMarkersAsync());
        Assert.Equal((8L, (short)0), (Entry.ProducerId, Entry.Epoch));
        _driver.Reload();
        Assert.Equal(ended, await End(7, short.MaxValue - 1, true, Bump));
        Assert.Equal(ErrorCode.None, await Add(8, 0, A0, protocol: Bump));
    }

    [Fact]
    public async Task The_highest_epoch_is_no_producers()
    {
        await Init(fresh: 7);
        Entry.Epoch = short.MaxValue - 1;
        await Add(7, short.MaxValue - 1, A0);
        // A second instance: the first is fenced by the highest epoch.
        Assert.Equal(ErrorCode.ConcurrentTransactions, (await Init()).Error);
        Written(await _driver.NextMarkersAsync());
        Assert.Equal(short.MaxValue, Entry.Epoch);
        Assert.Equal(ErrorCode.ProducerFenced, await Add(7, short.MaxValue, A0));
        Assert.Equal(TransactionState.CompleteAbort, Entry.State);
        Assert.True((await Init()).NeedsProducerId);
        Assert.Equal(new ProducerOutcome(ErrorCode.None, 8, 0), await Init(fresh: 8));
    }

    [Theory]
    [InlineData(Classic)]
    [InlineData(Bump)]
    public async Task A_transaction_that_was_fenced_before_the_restart_is_aborted_after_it(short protocol)
    {
        await Init(fresh: 7);
        await Add(7, 0, A0, protocol: protocol);
        await Init();
        await _driver.NextMarkersAsync();
        _driver.Reload();
        var work = await _driver.NextMarkersAsync();
        Assert.Equal((false, (short)1, protocol), (work.IsCommit, work.ProducerEpoch, work.ClientProtocol));
        Written(work);
        Assert.Equal(new ProducerOutcome(ErrorCode.None, 7, 2), await Init());
    }

    [Fact]
    public async Task Markers_of_an_earlier_transaction_end_nothing()
    {
        await Init(fresh: 7);
        await Add(7, 0, A0, protocol: Bump);
        await End(7, 0, true, Bump);
        var first = await _driver.NextMarkersAsync();
        Written(first);
        await Add(7, 1, A0, protocol: Bump);
        await End(7, 1, true, Bump);
        Written(first);
        Assert.Equal(TransactionState.PrepareCommit, Entry.State);
    }

    [Fact]
    public async Task Ids_that_nobody_uses_are_forgotten_but_never_with_an_open_transaction()
    {
        var driver = new TransactionDriver(("transactional.id.expiration.ms", "10000000"));
        _ = driver.Reload();
        await Init(fresh: 7, on: driver);
        driver.Advance(9_000_000);
        Assert.NotNull(driver.Shard.Find("t"));
        driver.Advance(9_000_000);
        Assert.Null(driver.Shard.Find("t"));
        Assert.Empty(driver.Replayed().All);
    }

    private void Written(MarkerWork work) => _driver.Run((shard, turn) =>
    {
        shard.OnMarkersWritten(turn, work);
        return true;
    });

    private Task<ProducerOutcome> Init(
        long fresh = -1, long id = -1, short epoch = -1, int timeoutMs = 60_000, TransactionDriver? on = null) =>
        (on ?? _driver).Run<ProducerOutcome>((shard, turn, reply) => shard.Initialization.Run(
            turn,
            reply,
            new InitProducerIdRequest
            {
                TransactionalId = "t",
                TransactionTimeoutMs = timeoutMs,
                ProducerId = id,
                ProducerEpoch = epoch,
            },
            fresh));

    private Task<ErrorCode> Add(long id, short epoch, TopicPartition one, short protocol = Classic) =>
        Add(id, epoch, [one], protocol);

    private Task<ErrorCode> Add(
        long id, short epoch, TopicPartition one, TopicPartition other, short protocol = Classic) =>
        Add(id, epoch, [one, other], protocol);

    private Task<ErrorCode> Add(long id, short epoch, TopicPartition[] partitions, short protocol) =>
        _driver.Run<ErrorCode>((shard, turn, reply) => shard.Partitions.Add(
            turn, reply, new TransactionalProducer("t", id, epoch), partitions, protocol));

    private Task<IReadOnlyList<ErrorCode>> Verify(long id, short epoch, params TopicPartition[] partitions) =>
        _driver.Run<IReadOnlyList<ErrorCode>>((shard, turn, reply) => shard.Partitions.Verify(
            turn, reply, new TransactionalProducer("t", id, epoch), partitions));

    private Task<ProducerOutcome> End(long id, short epoch, bool isCommit, short protocol, long fresh = -1) =>
        _driver.Run<ProducerOutcome>((shard, turn, reply) => shard.Ending.Run(
            turn, reply, new TransactionalProducer("t", id, epoch), isCommit, protocol, fresh));
}
