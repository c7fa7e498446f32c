using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Tests.Brokers;

namespace KBroker.Server.Tests.Handlers;

/// <summary>
/// The errors of the transaction coordinator, request by request; Apache Kafka answers the same (KBROKER_TEST_PORT).
/// </summary>
public sealed class TransactionRulesTests(BrokerFixture fixture) : IClassFixture<BrokerFixture>
{
    private static readonly (string Name, string Value) KeepAll = ("retention.ms", "-1");

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(900_001)]
    public async Task A_timeout_out_of_bounds_is_refused(int timeoutMs)
    {
        var id = fixture.NewName();
        await TestProducer.CreateAsync(fixture.Client, id);
        Assert.Equal(ErrorCode.InvalidTransactionTimeout, (await InitAsync(id, timeoutMs: timeoutMs)).ErrorCode);
    }

    [Fact]
    public async Task A_producer_that_names_itself_gets_the_next_epoch_once()
    {
        var producer = await NewProducerAsync();
        var (id, epoch) = (producer.ProducerId, producer.Epoch);
        var next = await InitAsync(producer.Id, id, epoch);
        Assert.Equal((ErrorCode.None, id, epoch + 1), (next.ErrorCode, next.ProducerId, next.ProducerEpoch));
        var again = await InitAsync(producer.Id, id, epoch);
        Assert.Equal((ErrorCode.None, id, epoch + 1), (again.ErrorCode, again.ProducerId, again.ProducerEpoch));
        var third = await InitAsync(producer.Id, id, (short)(epoch + 1));
        Assert.Equal((ErrorCode.None, epoch + 2), (third.ErrorCode, third.ProducerEpoch));
        Assert.Equal(ErrorCode.ProducerFenced, (await InitAsync(producer.Id, id, epoch)).ErrorCode);
        Assert.Equal(
            ErrorCode.InvalidProducerEpoch, (await InitAsync(producer.Id, id, epoch, version: 3)).ErrorCode);
        Assert.Equal(
            ErrorCode.ProducerFenced, (await InitAsync(producer.Id, id + 1, (short)(epoch + 2))).ErrorCode);
        // Somebody else comes: the next one of before is fenced, too.
        Assert.Equal(epoch + 3, (await InitAsync(producer.Id)).ProducerEpoch);
        Assert.Equal(ErrorCode.ProducerFenced, (await InitAsync(producer.Id, id, (short)(epoch + 2))).ErrorCode);
    }

    [Fact]
    public async Task A_producer_unknown_to_the_coordinator_may_name_itself()
    {
        var id = fixture.NewName();
        await TestProducer.CreateAsync(fixture.Client, fixture.NewName());
        var answer = await InitAsync(id, 123, 5);
        Assert.Equal((ErrorCode.None, 0), (answer.ErrorCode, answer.ProducerEpoch));
        Assert.NotEqual(123, answer.ProducerId);
    }

    [Fact]
    public async Task Half_of_a_producer_and_an_empty_name_are_refused()
    {
        var id = (await NewProducerAsync()).Id;
        Assert.Equal(ErrorCode.InvalidRequest, (await InitAsync(id, 5, -1)).ErrorCode);
        Assert.Equal(ErrorCode.InvalidRequest, (await InitAsync(string.Empty)).ErrorCode);
    }

    [Theory]
    [InlineData(4)]
    [InlineData(5)]
    public async Task The_end_of_what_is_not_there_is_refused(short version)
    {
        var producer = await NewProducerAsync();
        var (id, epoch) = (producer.ProducerId, producer.Epoch);
        Assert.Equal(
            ErrorCode.InvalidProducerIdMapping,
            (await EndAsync(fixture.NewName(), id, epoch, true, version)).ErrorCode);
        Assert.Equal(
            ErrorCode.InvalidProducerIdMapping, (await EndAsync(producer.Id, id + 1, epoch, true, version)).ErrorCode);
        Assert.Equal(
            ErrorCode.ProducerFenced, (await EndAsync(producer.Id, id, (short)(epoch + 1), true, version)).ErrorCode);
        Assert.Equal(ErrorCode.InvalidTxnState, (await EndAsync(producer.Id, id, epoch, true, version)).ErrorCode);
        if (version == 4)
        {
            Assert.Equal(ErrorCode.InvalidTxnState, (await EndAsync(producer.Id, id, epoch, false, 4)).ErrorCode);
            Assert.Equal(
                ErrorCode.InvalidProducerEpoch,
                (await EndAsync(producer.Id, id, (short)(epoch + 1), true, 1)).ErrorCode);
            return;
        }

        var aborted = await EndAsync(producer.Id, id, epoch, false, version);
        Assert.Equal((ErrorCode.None, id, epoch + 1), (aborted.ErrorCode, aborted.ProducerId, aborted.ProducerEpoch));
    }

    [Theory]
    [InlineData(true, true)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(false, false)]
    public async Task A_repeated_end_is_answered_as_the_first_and_another_decision_is_refused(
        bool isClassic, bool isCommit)
    {
        var topic = await fixture.CreateTopicAsync(1, KeepAll);
        var producer = await NewProducerAsync();
        if (isClassic)
            await producer.AddAsync(topic, 0);
        await producer.ProduceAsync(topic, 0, isClassic, "a");
        var (id, epoch) = (producer.ProducerId, producer.Epoch);
        var version = isClassic ? (short)4 : (short)5;
        var first = await EndAsync(producer.Id, id, epoch, isCommit, version);
        Assert.Equal(ErrorCode.None, first.ErrorCode);
        EndTxnResponse again = new() { ErrorCode = ErrorCode.ConcurrentTransactions };
        await Until.True(async () => (again = await EndAsync(producer.Id, id, epoch, isCommit, version)).ErrorCode
            != ErrorCode.ConcurrentTransactions);
        Assert.Equal(
            (ErrorCode.None, first.ProducerId, first.ProducerEpoch),
            (again.ErrorCode, again.ProducerId, again.ProducerEpoch));
        Assert.Equal(
            ErrorCode.InvalidTxnState, (await EndAsync(producer.Id, id, epoch, !isCommit, version)).ErrorCode);
    }

    [Fact]
    public async Task Partitions_are_added_by_the_current_instance_only()
    {
        var topic = await fixture.CreateTopicAsync(2, KeepAll);
        var producer = await NewProducerAsync();
        var second = await NewProducerAsync(producer.Id);
        async Task<ErrorCode> AddAsync(short version, long id, short epoch, string? name = null) =>
            (await fixture.Client.SendAsync<AddPartitionsToTxnResponse>(
                new AddPartitionsToTxnRequest
                {
                    V3AndBelowTransactionalId = name ?? producer.Id,
                    V3AndBelowProducerId = id,
                    V3AndBelowProducerEpoch = epoch,
                    V3AndBelowTopics = [new() { Name = topic.Name, Partitions = [0] }],
                }, version)).ResultsByTopicV3AndBelow[0].ResultsByPartition[0].PartitionErrorCode;
        Assert.Equal(ErrorCode.ProducerFenced, await AddAsync(3, producer.ProducerId, producer.Epoch));
        Assert.Equal(ErrorCode.InvalidProducerEpoch, await AddAsync(1, producer.ProducerId, producer.Epoch));
        Assert.Equal(ErrorCode.InvalidProducerIdMapping, await AddAsync(3, producer.ProducerId + 1, producer.Epoch));
        Assert.Equal(ErrorCode.InvalidProducerIdMapping, await AddAsync(3, second.ProducerId, 0, fixture.NewName()));
        Assert.Equal(ErrorCode.InvalidRequest, await AddAsync(3, second.ProducerId, 0, string.Empty));
        Assert.Equal(ErrorCode.None, await AddAsync(3, second.ProducerId, second.Epoch));
    }

    [Fact]
    public async Task Brokers_ask_for_many_transactions_at_once()
    {
        var topic = await fixture.CreateTopicAsync(2, KeepAll);
        var (one, other) = (await NewProducerAsync(), await NewProducerAsync());
        await one.AddAsync(topic, 0);
        AddPartitionsToTxnRequest.AddPartitionsToTxnTransaction Of(
            TestProducer producer, bool verifyOnly, short epoch) => new()
            {
                TransactionalId = producer.Id,
                ProducerId = producer.ProducerId,
                ProducerEpoch = epoch,
                VerifyOnly = verifyOnly,
                Topics = [new() { Name = topic.Name, Partitions = [0, 1] }],
            };
        var response = await fixture.Client.SendAsync<AddPartitionsToTxnResponse>(
            new AddPartitionsToTxnRequest { Transactions = [Of(one, true, one.Epoch), Of(other, false, other.Epoch)] });
        Assert.Equal(ErrorCode.None, response.ErrorCode);
        Assert.Equal([ErrorCode.None, ErrorCode.TransactionAbortable], Errors(response, one.Id));
        Assert.Equal([ErrorCode.None, ErrorCode.None], Errors(response, other.Id));
        response = await fixture.Client.SendAsync<AddPartitionsToTxnResponse>(
            new AddPartitionsToTxnRequest { Transactions = [Of(one, true, 9), Of(other, true, other.Epoch)] });
        Assert.Equal([ErrorCode.ProducerFenced, ErrorCode.ProducerFenced], Errors(response, one.Id));
        Assert.Equal([ErrorCode.None, ErrorCode.None], Errors(response, other.Id));
    }

    [Fact]
    public async Task An_id_may_change_its_protocol_between_transactions()
    {
        Assert.SkipWhen(
            TestBroker.OtherPort is not null, "Kafka's markers may end what is asked about the next transaction");
        var topic = await fixture.CreateTopicAsync(1, KeepAll);
        var producer = await NewProducerAsync();
        foreach (var isClassic in new[] { true, false, true, true, false, false, true })
        {
            if (isClassic)
                Assert.Equal(ErrorCode.None, await producer.AddAsync(topic, 0));
            Assert.Equal(ErrorCode.None, (await producer.ProduceAsync(topic, 0, isClassic, "v")).ErrorCode);
            Assert.Equal(ErrorCode.None, await producer.EndAsync(true, isClassic));
            // A classic transaction leaves the epoch as it is, so the next one must not begin before its markers.
            if (isClassic)
                await WaitUntilCompleteAsync(producer.Id);
        }

        await Until.True(async () =>
        {
            var request = topic.FetchRequest(0);
            request.IsolationLevel = 1;
            var data = (await fixture.Client.SendAsync<FetchResponse>(request)).Responses[0].Partitions[0];
            return data.LastStableOffset == 14;
        });
    }

    private Task WaitUntilCompleteAsync(string id) => Until.True(async () =>
    {
        var described = await fixture.Client.SendAsync<DescribeTransactionsResponse>(
            new DescribeTransactionsRequest { TransactionalIds = [id] });
        return Assert.Single(described.TransactionStates).TransactionState == "CompleteCommit";
    });

    [Fact]
    public async Task Markers_of_an_administrator_are_judged_by_epochs_and_protocol()
    {
        var topic = await fixture.CreateTopicAsync(1, KeepAll);
        var producer = await NewProducerAsync();
        await producer.InitAsync();
        await producer.ProduceAsync(topic, 0, false, "hanging");
        var (id, epoch) = (producer.ProducerId, producer.Epoch);
        Assert.Equal(ErrorCode.InvalidProducerEpoch, await MarkAsync(topic, id, (short)(epoch - 1), 0, 1));
        Assert.Equal(ErrorCode.UnknownTopicOrPartition, await MarkAsync(topic, id, epoch, 0, 1, partition: 7));
        // In the newer protocol a marker is above the records that it ends.
        Assert.Equal(ErrorCode.InvalidProducerEpoch, await MarkAsync(topic, id, epoch, 0, 2, bumped: 2));
        Assert.Equal(0, (await topic.FetchAsync(0)).LastStableOffset);
        Assert.Equal(ErrorCode.None, await MarkAsync(topic, id, epoch, 5, 1));
        Assert.Equal(2, (await topic.FetchAsync(0)).LastStableOffset);
        Assert.Equal(ErrorCode.TransactionCoordinatorFenced, await MarkAsync(topic, id, epoch, 4, 1));
    }

    private static List<ErrorCode> Errors(AddPartitionsToTxnResponse response, string id) =>
        [.. response.ResultsByTransaction.Single(t => t.TransactionalId == id).TopicResults[0].ResultsByPartition
            .OrderBy(static p => p.PartitionIndex).Select(static p => p.PartitionErrorCode)];

    private Task<TestProducer> NewProducerAsync(string? id = null) =>
        TestProducer.CreateAsync(fixture.Client, id ?? fixture.NewName());

    private Task<InitProducerIdResponse> InitAsync(
        string id, long producerId = -1, short epoch = -1, int timeoutMs = 60_000, short version = 5) =>
        fixture.Client.SendAsync<InitProducerIdResponse>(
            new InitProducerIdRequest
            {
                TransactionalId = id,
                TransactionTimeoutMs = timeoutMs,
                ProducerId = producerId,
                ProducerEpoch = epoch,
            },
            version);

    private Task<EndTxnResponse> EndAsync(
        string id, long producerId, short epoch, bool isCommit, short version) =>
        fixture.Client.SendAsync<EndTxnResponse>(
            new EndTxnRequest
            {
                TransactionalId = id,
                ProducerId = producerId,
                ProducerEpoch = epoch,
                Committed = isCommit,
            },
            version);

    private async Task<ErrorCode> MarkAsync(
        TestTopic topic, long id, short epoch, int coordinatorEpoch, short version, int partition = 0, sbyte bumped = 0)
    {
        var response = await fixture.Client.SendAsync<WriteTxnMarkersResponse>(
            new WriteTxnMarkersRequest
            {
                Markers =
                [
                    new()
                    {
                        ProducerId = id,
                        ProducerEpoch = epoch,
                        CoordinatorEpoch = coordinatorEpoch,
                        TransactionResult = false,
                        TransactionVersion = bumped,
                        Topics = [new() { Name = topic.Name, PartitionIndexes = [partition] }],
                    },
                ],
            },
            version);
        return response.Markers[0].Topics[0].Partitions[0].ErrorCode;
    }
}
