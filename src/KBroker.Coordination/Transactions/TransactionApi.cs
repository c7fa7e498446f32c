using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Storage;
using KBroker.Storage.Crashing;

namespace KBroker.Coordination.Transactions;

/// <summary>What producers and brokers ask the transaction coordinator.</summary>
public sealed class TransactionApi
{
    private readonly ITransactionShards _shards;
    private readonly Func<CancellationToken, ValueTask<(ErrorCode Error, long ProducerId)>> _nextProducerId;

    /// <summary>Creates the API.</summary>
    /// <param name="shards">The shards.</param>
    /// <param name="nextProducerId">Gives a producer id that nobody has.</param>
    internal TransactionApi(
        ITransactionShards shards,
        Func<CancellationToken, ValueTask<(ErrorCode Error, long ProducerId)>> nextProducerId)
    {
        _shards = shards;
        _nextProducerId = nextProducerId;
    }

    /// <summary>InitProducerId with a transactional id.</summary>
    /// <param name="request">The request.</param>
    /// <param name="cancellation">Stops the waiting for a producer id.</param>
    /// <returns>The answer.</returns>
    public async Task<InitProducerIdResponse> InitProducerIdAsync(
        InitProducerIdRequest request, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(request);
        var outcome = await RunWithIdAsync(
            request.TransactionalId!,
            (shard, turn, reply, fresh) => shard.Initialization.Run(turn, reply, request, fresh),
            cancellation).ConfigureAwait(false);
        return new InitProducerIdResponse
        {
            ErrorCode = outcome.Error,
            ProducerId = outcome.ProducerId,
            ProducerEpoch = outcome.Epoch,
        };
    }

    /// <summary>EndTxn.</summary>
    /// <param name="request">The request.</param>
    /// <param name="version">Its version: from 5 on the epoch rises with the end of a transaction (KIP-890).</param>
    /// <param name="cancellation">Stops the waiting for a producer id.</param>
    /// <returns>The answer; id and epoch are for the next transaction.</returns>
    public async Task<EndTxnResponse> EndAsync(EndTxnRequest request, short version, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(request);
        const short FirstWithBump = 5;
        var producer = new TransactionalProducer(request.TransactionalId, request.ProducerId, request.ProducerEpoch);
        var protocol = version >= FirstWithBump ? TransactionProtocol.EpochBump : TransactionProtocol.Classic;
        var outcome = await RunWithIdAsync(
            request.TransactionalId,
            (shard, turn, reply, fresh) =>
                shard.Ending.Run(turn, reply, producer, request.Committed, protocol, fresh),
            cancellation).ConfigureAwait(false);
        return new EndTxnResponse
        {
            ErrorCode = outcome.Error,
            ProducerId = outcome.ProducerId,
            ProducerEpoch = outcome.Epoch,
        };
    }

    /// <summary>Adds partitions to a producer's transaction.</summary>
    /// <param name="transactionalId">The transactional id.</param>
    /// <param name="producerId">The producer id.</param>
    /// <param name="epoch">Its epoch.</param>
    /// <param name="partitions">The partitions.</param>
    /// <param name="isEpochBumped">Whether the client speaks the newer protocol (KIP-890).</param>
    /// <returns>None, or why they were not added.</returns>
    public async Task<ErrorCode> AddPartitionsAsync(
        string transactionalId,
        long producerId,
        short epoch,
        IReadOnlyCollection<TopicPartition> partitions,
        bool isEpochBumped)
    {
        var producer = new TransactionalProducer(transactionalId, producerId, epoch);
        var protocol = isEpochBumped ? TransactionProtocol.EpochBump : TransactionProtocol.Classic;
        try
        {
            var error = await _shards.RunAsync<ErrorCode>(
                transactionalId,
                (shard, turn, reply) => shard.Partitions.Add(turn, reply, producer, partitions, protocol))
                .ConfigureAwait(false);
            CrashPoint.Reached("txn.partitions-durable");
            return error;
        }
        catch (CoordinatorException refused)
        {
            return refused.Error;
        }
    }

    /// <summary>Asks whether partitions are in a producer's open transaction.</summary>
    /// <param name="transactionalId">The transactional id.</param>
    /// <param name="producerId">The producer id.</param>
    /// <param name="epoch">Its epoch.</param>
    /// <param name="partitions">The partitions.</param>
    /// <returns>An answer for each, in order: none, or why not (TRANSACTION_ABORTABLE where it was not
    /// added).</returns>
    public async Task<IReadOnlyList<ErrorCode>> VerifyAsync(
        string transactionalId, long producerId, short epoch, IReadOnlyList<TopicPartition> partitions)
    {
        ArgumentNullException.ThrowIfNull(partitions);
        var producer = new TransactionalProducer(transactionalId, producerId, epoch);
        try
        {
            return await _shards.RunAsync<IReadOnlyList<ErrorCode>>(
                transactionalId,
                (shard, turn, reply) => shard.Partitions.Verify(turn, reply, producer, partitions))
                .ConfigureAwait(false);
        }
        catch (CoordinatorException refused)
        {
            return [.. Enumerable.Repeat(refused.Error, partitions.Count)];
        }
    }

    /// <summary>DescribeTransactions of one id.</summary>
    /// <param name="transactionalId">The id.</param>
    /// <returns>Its state; TRANSACTIONAL_ID_NOT_FOUND when there is none.</returns>
    public async Task<DescribeTransactionsResponse.TransactionStateData> DescribeAsync(string transactionalId)
    {
        try
        {
            return await _shards.RunAsync<DescribeTransactionsResponse.TransactionStateData>(
                transactionalId,
                (shard, turn, reply) => turn.Send(reply, TransactionViews.Describe(shard, transactionalId)))
                .ConfigureAwait(false);
        }
        catch (CoordinatorException refused)
        {
            return new() { TransactionalId = transactionalId, ErrorCode = refused.Error };
        }
    }

    /// <summary>ListTransactions.</summary>
    /// <param name="request">The filters.</param>
    /// <param name="isVisible">Whether the asker may see a transactional id.</param>
    /// <returns>The transactions that pass all filters.</returns>
    public async Task<ListTransactionsResponse> ListAsync(
        ListTransactionsRequest request, Func<string, bool> isVisible)
    {
        ArgumentNullException.ThrowIfNull(request);
        if (!TransactionViews.TryCreateFilter(request, out var filter, out var error))
            return new ListTransactionsResponse { ErrorCode = error };
        var response = new ListTransactionsResponse();
        response.UnknownStateFilters.AddRange(filter.UnknownStates);
        try
        {
            var parts = await _shards.RunOnAllAsync((shard, turn) =>
                shard.All.Where(entry => filter.Passes(entry, turn.NowMs)).Select(TransactionViews.List).ToList())
                .ConfigureAwait(false);
            response.TransactionStates.AddRange(
                parts.SelectMany(static part => part).Where(state => isVisible(state.TransactionalId)));
        }
        catch (CoordinatorException refused)
        {
            response.ErrorCode = refused.Error;
        }

        return response;
    }

    /// <summary>Runs a step, and once more with a fresh producer id if it finds that it needs one.</summary>
    private async Task<ProducerOutcome> RunWithIdAsync(
        string transactionalId,
        Action<TransactionShard, ICoordinatorTurn, Reply<ProducerOutcome>, long> step,
        CancellationToken cancellation)
    {
        try
        {
            var outcome = await _shards.RunAsync<ProducerOutcome>(
                transactionalId, (shard, turn, reply) => step(shard, turn, reply, -1)).ConfigureAwait(false);
            if (!outcome.NeedsProducerId)
                return outcome;
            var (error, fresh) = await _nextProducerId(cancellation).ConfigureAwait(false);
            return error != ErrorCode.None
                ? ProducerOutcome.Failed(error)
                : await _shards.RunAsync<ProducerOutcome>(
                    transactionalId, (shard, turn, reply) => step(shard, turn, reply, fresh)).ConfigureAwait(false);
        }
        catch (CoordinatorException refused)
        {
            return ProducerOutcome.Failed(refused.Error);
        }
    }
}
