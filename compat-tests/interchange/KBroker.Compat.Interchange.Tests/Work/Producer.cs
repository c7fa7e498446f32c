using KBroker.Compat.Harness;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;

namespace KBroker.Compat.Interchange.Tests.Work;

/// <summary>
/// An idempotent, or transactional, producer that outlives the broker it began on: with its id, epoch and sequences it
/// goes on at the next one, as a client does whose broker was replaced while it ran.
/// </summary>
internal sealed class Producer(string? transactionalId, Batches batches)
{
    private readonly Dictionary<(string Topic, int Partition), int> _sequences = [];
    private readonly Dictionary<(string Topic, int Partition), (byte[] Batch, long Offset)> _last = [];
    private long _id = -1;
    private short _epoch = -1;

    /// <summary>Whether a transaction has begun that is neither committed nor aborted.</summary>
    public bool IsOpen { get; private set; }

    /// <summary>Gets id and epoch; a transaction that an earlier incarnation left open is aborted by that.</summary>
    public async Task InitAsync(Commands commands)
    {
        if (transactionalId is not null)
            await FindCoordinatorAsync(commands, transactionalId, keyType: 1);
        var answer = await commands.PatientlyAsync<InitProducerIdResponse>(new InitProducerIdRequest
        {
            TransactionalId = transactionalId,
            TransactionTimeoutMs = 900_000,
        }, a => a.ErrorCode);
        (_id, _epoch) = (answer.ProducerId, answer.ProducerEpoch);
        _sequences.Clear();
        IsOpen = false;
    }

    public Task<long> SendAsync(
        Commands commands, Topic topic, int partition, CompressionType codec,
        params (string? Key, string? Value)[] records) =>
        SendAsync(
            commands, topic, partition, codec, records.Length,
            (options, timestamp) => batches.Of(options, timestamp, records));

    /// <summary>Sends a batch that somebody else makes.</summary>
    public async Task<long> SendAsync(
        Commands commands, Topic topic, int partition, CompressionType codec, int count,
        Func<RecordBatchOptions, long, byte[]> build)
    {
        var sequence = _sequences.GetValueOrDefault((topic.Name, partition));
        var batch = build(
            new RecordBatchOptions
            {
                Compression = codec,
                ProducerId = _id,
                ProducerEpoch = _epoch,
                BaseSequence = sequence,
                IsTransactional = transactionalId is not null,
            },
            // Producer state expires by the records' timestamps, so these must be of today.
            TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds());
        if (transactionalId is not null && !commands.AddsPartitionsWhenProducing)
            await AddPartitionAsync(commands, topic, partition);
        var offset = await commands.ProduceAsync(topic, partition, batch, transactionalId);
        _sequences[(topic.Name, partition)] = sequence + count;
        _last[(topic.Name, partition)] = (batch, offset);
        IsOpen = transactionalId is not null;
        return offset;
    }

    /// <summary>
    /// Sends the last batch of a partition again, as after a lost answer: it must be known, and get its old offset.
    /// </summary>
    public async Task RepeatAsync(Commands commands, Topic topic, int partition)
    {
        var (batch, offset) = _last[(topic.Name, partition)];
        var before = await commands.RangeAsync(topic, partition);
        Assert.Equal(offset, await commands.ProduceAsync(topic, partition, batch, transactionalId));
        Assert.Equal(before, await commands.RangeAsync(topic, partition));
    }

    /// <summary>Commits or aborts.</summary>
    public async Task EndAsync(Commands commands, bool commit)
    {
        var answer = await commands.PatientlyAsync<EndTxnResponse>(new EndTxnRequest
        {
            TransactionalId = transactionalId!,
            ProducerId = _id,
            ProducerEpoch = _epoch,
            Committed = commit,
        }, a => a.ErrorCode, (short)(commands.AddsPartitionsWhenProducing ? 5 : 4));
        await Poll.UntilAsync("the markers are written", async () =>
        {
            var state = await commands.Client.SendAsync<DescribeTransactionsResponse>(
                new DescribeTransactionsRequest { TransactionalIds = [transactionalId!] });
            return state.TransactionStates.Single().TransactionState == (commit ? "CompleteCommit" : "CompleteAbort");
        });
        // Since KIP-890 each transaction has an epoch of its own, with sequences from 0.
        if (answer.ProducerId >= 0)
        {
            (_id, _epoch) = (answer.ProducerId, answer.ProducerEpoch);
            _sequences.Clear();
        }

        IsOpen = false;
    }

    /// <summary>Commits a group's position within the transaction.</summary>
    public async Task CommitOffsetAsync(Commands commands, string group, Topic topic, int partition, long offset)
    {
        await FindCoordinatorAsync(commands, group, keyType: 0);
        var isNew = commands.AddsPartitionsWhenProducing;
        await commands.PatientlyAsync<AddOffsetsToTxnResponse>(new AddOffsetsToTxnRequest
        {
            TransactionalId = transactionalId!,
            ProducerId = _id,
            ProducerEpoch = _epoch,
            GroupId = group,
        }, a => a.ErrorCode, (short)(isNew ? 4 : 3));
        await commands.PatientlyAsync<TxnOffsetCommitResponse>(new TxnOffsetCommitRequest
        {
            TransactionalId = transactionalId!,
            GroupId = group,
            ProducerId = _id,
            ProducerEpoch = _epoch,
            Topics =
            [
                new()
                {
                    Name = topic.Name,
                    Partitions =
                    [
                        new() { PartitionIndex = partition, CommittedOffset = offset, CommittedMetadata = "of mine" },
                    ],
                },
            ],
        }, a => a.Topics.Single().Partitions.Single().ErrorCode, (short)(isNew ? 5 : 4));
        IsOpen = true;
    }

    /// <summary>What clients do before the first record of a partition, in transactions before KIP-890.</summary>
    private async Task AddPartitionAsync(Commands commands, Topic topic, int partition)
    {
        var request = new AddPartitionsToTxnRequest
        {
            V3AndBelowTransactionalId = transactionalId!,
            V3AndBelowProducerId = _id,
            V3AndBelowProducerEpoch = _epoch,
            V3AndBelowTopics = [new() { Name = topic.Name, Partitions = [partition] }],
        };
        await commands.PatientlyAsync<AddPartitionsToTxnResponse>(
            request, a => a.ResultsByTopicV3AndBelow.Single().ResultsByPartition.Single().PartitionErrorCode, 3);
    }

    internal static Task FindCoordinatorAsync(Commands commands, string key, sbyte keyType) =>
        commands.PatientlyAsync<FindCoordinatorResponse>(
            new FindCoordinatorRequest { KeyType = keyType, CoordinatorKeys = [key] },
            a => a.Coordinators.Single().ErrorCode);
}
