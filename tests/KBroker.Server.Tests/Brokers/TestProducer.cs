using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;

namespace KBroker.Server.Tests.Brokers;

/// <summary>A transactional producer that asks again where a client would.</summary>
internal sealed class TestProducer(ProtocolClient client, string id, int timeoutMs)
{
    private const short ClassicProduce = 11;
    private const short NewerProduce = 12;
    private const short ClassicEnd = 4;
    private const short NewerEnd = 5;

    private readonly Dictionary<(string Topic, int Partition), int> _sequences = [];

    public string Id => id;

    public long ProducerId { get; private set; } = -1;

    public short Epoch { get; private set; } = -1;

    /// <summary>Finds the coordinator, and initialises.</summary>
    public static async Task<TestProducer> CreateAsync(ProtocolClient client, string id, int timeoutMs = 60_000)
    {
        await client.SendAsync<FindCoordinatorResponse>(
            new FindCoordinatorRequest { KeyType = 1, CoordinatorKeys = [id] });
        var producer = new TestProducer(client, id, timeoutMs);
        await producer.InitAsync();
        return producer;
    }

    public async Task InitAsync()
    {
        var response = await RetryAsync(() => client.SendAsync<InitProducerIdResponse>(
            new InitProducerIdRequest { TransactionalId = id, TransactionTimeoutMs = timeoutMs }),
            static r => r.ErrorCode);
        Assert.Equal(ErrorCode.None, response.ErrorCode);
        (ProducerId, Epoch) = (response.ProducerId, response.ProducerEpoch);
        _sequences.Clear();
    }

    public AddPartitionsToTxnRequest AddRequest(TestTopic topic, params int[] partitions) => new()
    {
        V3AndBelowTransactionalId = id,
        V3AndBelowProducerId = ProducerId,
        V3AndBelowProducerEpoch = Epoch,
        V3AndBelowTopics = [new() { Name = topic.Name, Partitions = [.. partitions] }],
    };

    public async Task<ErrorCode> AddAsync(TestTopic topic, params int[] partitions)
    {
        static ErrorCode Error(AddPartitionsToTxnResponse response) =>
            response.ResultsByTopicV3AndBelow[0].ResultsByPartition[0].PartitionErrorCode;
        return Error(await RetryAsync(
            () => client.SendAsync<AddPartitionsToTxnResponse>(AddRequest(topic, partitions), 3), Error));
    }

    public Task<ProduceResponse.PartitionProduceResponse> ProduceAsync(
        TestTopic topic, int partition, bool isClassic, params string[] values) =>
        ProduceAsync(topic, partition, isClassic ? ClassicProduce : NewerProduce, values);

    public async Task<ProduceResponse.PartitionProduceResponse> ProduceAsync(
        TestTopic topic, int partition, short version, params string[] values)
    {
        var sequence = _sequences.GetValueOrDefault((topic.Name, partition));
        var request = topic.ProduceRequest(
            Batches.Of(
                RecordBatchOptions.Default with
                {
                    IsTransactional = true,
                    ProducerId = ProducerId,
                    ProducerEpoch = Epoch,
                    BaseSequence = sequence,
                },
                values),
            partition: partition);
        request.TransactionalId = id;
        var answer = await RetryAsync(
            async () => Assert.Single(Assert.Single(
                (await client.SendAsync<ProduceResponse>(request, version)).Responses).PartitionResponses),
            static r => r.ErrorCode);
        if (answer.ErrorCode == ErrorCode.None)
            _sequences[(topic.Name, partition)] = sequence + values.Length;
        return answer;
    }

    public async Task<ErrorCode> EndAsync(bool isCommit, bool isClassic)
    {
        var response = await RetryAsync(() => client.SendAsync<EndTxnResponse>(
            new EndTxnRequest
            {
                TransactionalId = id,
                ProducerId = ProducerId,
                ProducerEpoch = Epoch,
                Committed = isCommit,
            },
            isClassic ? ClassicEnd : NewerEnd), static r => r.ErrorCode);
        if (response.ErrorCode == ErrorCode.None && !isClassic)
        {
            (ProducerId, Epoch) = (response.ProducerId, response.ProducerEpoch);
            _sequences.Clear();
        }

        return response.ErrorCode;
    }

    /// <summary>Makes a group's offsets part of the transaction; newer clients leave that to the commit.</summary>
    public async Task<ErrorCode> AddOffsetsAsync(string groupId, short version = -1) =>
        (await RetryAsync(() => client.SendAsync<AddOffsetsToTxnResponse>(
            new AddOffsetsToTxnRequest
            {
                TransactionalId = id,
                ProducerId = ProducerId,
                ProducerEpoch = Epoch,
                GroupId = groupId,
            },
            version), static r => r.ErrorCode)).ErrorCode;

    /// <summary>Commits an offset of partition 0 within the transaction.</summary>
    public async Task<ErrorCode> CommitAsync(string groupId, TestTopic topic, long offset, short version = -1)
    {
        static ErrorCode Error(TxnOffsetCommitResponse response) => response.Topics[0].Partitions[0].ErrorCode;
        return Error(await RetryAsync(
            () => client.SendAsync<TxnOffsetCommitResponse>(
                new TxnOffsetCommitRequest
                {
                    TransactionalId = id,
                    GroupId = groupId,
                    ProducerId = ProducerId,
                    ProducerEpoch = Epoch,
                    Topics = [new() { Name = topic.Name, Partitions = [new() { CommittedOffset = offset }] }],
                },
                version),
            Error));
    }

    private static async Task<T> RetryAsync<T>(Func<Task<T>> send, Func<T, ErrorCode> errorOf)
    {
        var deadline = DateTime.UtcNow + ProtocolClient.Deadline;
        T answer;
        do
            answer = await send();
        while (DateTime.UtcNow < deadline && errorOf(answer) is ErrorCode.ConcurrentTransactions
            or ErrorCode.CoordinatorLoadInProgress or ErrorCode.NotCoordinator
            or ErrorCode.NotEnoughReplicas);
        return answer;
    }
}
