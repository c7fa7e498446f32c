using KBroker.Coordination.Runtime;
using KBroker.Coordination.Transactions;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Storage;

namespace KBroker.Coordination.Tests.Transactions;

/// <summary>Requests that come while the transaction before is being ended wait a little for that.</summary>
public sealed class CompletionWaiterTests
{
    private const short Bump = TransactionProtocol.EpochBump;
    private static readonly TopicPartition A0 = new("a", 0);
    private static readonly TopicPartition A1 = new("a", 1);

    private readonly TransactionDriver _driver = new();

    private TransactionEntry Entry => _driver.Shard.Find("t")!;

    [Fact]
    public async Task Partitions_are_added_once_the_transaction_before_is_complete()
    {
        var work = await EndOneAsync();
        var one = Add(1, A0);
        var other = Add(1, A1);
        Assert.False(one.IsCompleted || other.IsCompleted);
        Written(work);
        Assert.Equal(ErrorCode.None, await one);
        Assert.Equal(ErrorCode.None, await other);
        Assert.Equal(TransactionState.Ongoing, Entry.State);
        Assert.Equal([A0, A1], Entry.Partitions.OrderBy(static p => p.Partition));
        Assert.Equal(0, _driver.Shard.Waiters.Count);
        Assert.DoesNotContain(_driver.Timers, static key => key.StartsWith("completion", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Who_waited_too_long_is_told_that_the_transaction_is_not_complete()
    {
        var work = await EndOneAsync();
        var waiting = Add(1, A0);
        _driver.Advance(99);
        Assert.False(waiting.IsCompleted);
        _driver.Advance(1);
        Assert.Equal(ErrorCode.ConcurrentTransactions, await waiting);
        Assert.Equal(0, _driver.Shard.Waiters.Count);
        Written(work);
        Assert.Equal(TransactionState.CompleteCommit, Entry.State);
        Assert.Equal(ErrorCode.None, await Add(1, A0));
    }

    [Fact]
    public async Task Who_is_fenced_learns_it_at_once()
    {
        await EndOneAsync();
        Assert.Equal(ErrorCode.ProducerFenced, await Add(0, A0));
        Assert.Equal(0, _driver.Shard.Waiters.Count);
    }

    [Fact]
    public async Task A_second_instance_gets_its_epoch_when_the_transaction_of_the_first_is_aborted()
    {
        await Init(fresh: 7);
        await Add(0, A0);
        var second = Init();
        Assert.False(second.IsCompleted);
        Assert.Equal(TransactionState.PrepareAbort, Entry.State);
        Written(await _driver.NextMarkersAsync());
        Assert.Equal(new ProducerOutcome(ErrorCode.None, 7, 2), await second);
        Assert.Equal(TransactionState.Empty, Entry.State);
    }

    [Fact]
    public async Task Of_two_new_instances_the_later_one_fences_the_earlier()
    {
        await Init(fresh: 7);
        await Add(0, A0);
        var second = Init();
        var third = Init();
        Written(await _driver.NextMarkersAsync());
        Assert.Equal(2, (await second).Epoch);
        Assert.Equal(3, (await third).Epoch);
    }

    [Fact]
    public async Task A_repeated_end_is_answered_when_the_transaction_is_complete()
    {
        var work = await EndOneAsync();
        var again = End(0, isCommit: true);
        var other = End(0, isCommit: false);
        Assert.Equal(ErrorCode.InvalidTxnState, (await other).Error);
        Assert.False(again.IsCompleted);
        Written(work);
        Assert.Equal(new ProducerOutcome(ErrorCode.None, 7, 1), await again);
    }

    [Fact]
    public async Task Who_waits_is_told_when_the_coordinator_moves_away()
    {
        await EndOneAsync();
        var waiting = Add(1, A0);
        _driver.Reload();
        var refused = await Assert.ThrowsAsync<CoordinatorException>(() => waiting);
        Assert.Equal(ErrorCode.NotCoordinator, refused.Error);
        Written(await _driver.NextMarkersAsync());
        Assert.Equal(TransactionState.CompleteCommit, Entry.State);
        Assert.Empty(Entry.Partitions);
    }

    private async Task<MarkerWork> EndOneAsync()
    {
        await Init(fresh: 7);
        await Add(0, A0);
        Assert.Equal(new ProducerOutcome(ErrorCode.None, 7, 1), await End(0, isCommit: true));
        return await _driver.NextMarkersAsync();
    }

    private void Written(MarkerWork work) => _driver.Run((shard, turn) =>
    {
        shard.OnMarkersWritten(turn, work);
        return true;
    });

    private Task<ProducerOutcome> Init(long fresh = -1) =>
        _driver.Run<ProducerOutcome>((shard, turn, reply) => shard.Initialization.Run(
            turn,
            reply,
            new InitProducerIdRequest
            {
                TransactionalId = "t",
                TransactionTimeoutMs = 60_000,
                ProducerId = -1,
                ProducerEpoch = -1,
            },
            fresh));

    private Task<ErrorCode> Add(short epoch, TopicPartition partition) =>
        _driver.Run<ErrorCode>((shard, turn, reply) => shard.Partitions.Add(
            turn, reply, new TransactionalProducer("t", 7, epoch), [partition], Bump));

    private Task<ProducerOutcome> End(short epoch, bool isCommit) =>
        _driver.Run<ProducerOutcome>((shard, turn, reply) => shard.Ending.Run(
            turn, reply, new TransactionalProducer("t", 7, epoch), isCommit, Bump, -1));
}
