using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;
using KBroker.Server.Tests.Brokers;

namespace KBroker.Server.Tests.Handlers;

/// <summary>Transactions in both protocols: "classic" clients add partitions, newer ones only produce and
/// end.</summary>
public sealed class TransactionTests(BrokerFixture fixture) : IClassFixture<BrokerFixture>
{
    /// <summary>The records of these tests are older than any retention.</summary>
    private static readonly (string Name, string Value) KeepAll = ("retention.ms", "-1");

    [Theory]
    [InlineData(true, true)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(false, false)]
    public async Task Records_of_a_transaction_are_seen_when_it_commits_and_never_when_it_aborts(
        bool isClassic, bool isCommit)
    {
        var topic = await fixture.CreateTopicAsync(2, KeepAll);
        var producer = await NewProducerAsync();
        if (isClassic)
            Assert.Equal(ErrorCode.None, await producer.AddAsync(topic, 0, 1));
        Assert.Equal(ErrorCode.None, (await producer.ProduceAsync(topic, 0, isClassic, "a", "b")).ErrorCode);
        Assert.Equal(ErrorCode.None, (await producer.ProduceAsync(topic, 1, isClassic, "c")).ErrorCode);
        Assert.Equal(ErrorCode.None, (await producer.ProduceAsync(topic, 0, isClassic, "d")).ErrorCode);
        Assert.Empty(await CommittedAsync(topic, 0));
        Assert.Equal(["a", "b", "d"], Batches.Values((await topic.FetchAsync(0)).Records));
        Assert.Equal(
            "Ongoing", Assert.Single((await DescribeAsync(producer.Id)).TransactionStates).TransactionState);

        var epoch = producer.Epoch;
        Assert.Equal(ErrorCode.None, await producer.EndAsync(isCommit, isClassic));
        Assert.Equal(isClassic ? epoch : epoch + 1, producer.Epoch);
        await WaitForStateAsync(producer.Id, isCommit ? "CompleteCommit" : "CompleteAbort");
        Assert.Equal(isCommit ? ["a", "b", "d"] : [], await CommittedAsync(topic, 0));
        Assert.Equal(isCommit ? ["c"] : [], await CommittedAsync(topic, 1));
    }

    [Fact]
    public async Task A_classic_producer_must_add_a_partition_before_it_writes_there()
    {
        var topic = await fixture.CreateTopicAsync(2, KeepAll);
        var producer = await NewProducerAsync();
        await producer.AddAsync(topic, 0);
        Assert.Equal(ErrorCode.None, (await producer.ProduceAsync(topic, 0, true, "a")).ErrorCode);
        Assert.Equal(ErrorCode.TransactionAbortable, (await producer.ProduceAsync(topic, 1, true, "b")).ErrorCode);
        Assert.Equal(
            ErrorCode.InvalidTxnState, (await producer.ProduceAsync(topic, 1, version: 9, "b")).ErrorCode);
        Assert.Empty(Batches.Values((await topic.FetchAsync(0, partition: 1)).Records));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_second_instance_fences_the_first_and_aborts_its_transaction(bool isClassic)
    {
        var topic = await fixture.CreateTopicAsync(1, KeepAll);
        var first = await NewProducerAsync();
        if (isClassic)
            await first.AddAsync(topic, 0);
        await first.ProduceAsync(topic, 0, isClassic, "lost");
        var second = await NewProducerAsync(first.Id);
        Assert.Equal(first.ProducerId, second.ProducerId);
        Assert.True(second.Epoch > first.Epoch);
        Assert.Equal(
            ErrorCode.InvalidProducerEpoch, (await first.ProduceAsync(topic, 0, isClassic, "zombie")).ErrorCode);
        Assert.Equal(ErrorCode.ProducerFenced, await first.EndAsync(true, isClassic));
        Assert.Empty(await CommittedAsync(topic, 0));
        if (isClassic)
            Assert.Equal(ErrorCode.None, await second.AddAsync(topic, 0));
        Assert.Equal(ErrorCode.None, (await second.ProduceAsync(topic, 0, isClassic, "kept")).ErrorCode);
        Assert.Equal(ErrorCode.None, await second.EndAsync(true, isClassic));
        await WaitForStateAsync(second.Id, "CompleteCommit");
        Assert.Equal(["kept"], await CommittedAsync(topic, 0));
    }

    [Fact]
    public async Task A_transaction_that_is_not_ended_in_time_is_aborted()
    {
        var topic = await fixture.CreateTopicAsync(1, KeepAll);
        var producer = await NewProducerAsync(timeoutMs: 100);
        await producer.ProduceAsync(topic, 0, false, "late");
        await WaitForStateAsync(producer.Id, "CompleteAbort");
        // By its epoch the request might be a repeated one: so the answer, Kafka's too, is not PRODUCER_FENCED.
        Assert.Equal(ErrorCode.InvalidTxnState, await producer.EndAsync(true, false));
        Assert.Empty(await CommittedAsync(topic, 0));
        await producer.InitAsync();
        Assert.Equal(ErrorCode.None, (await producer.ProduceAsync(topic, 0, false, "again")).ErrorCode);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task One_transaction_after_the_other_needs_no_wait_between_them(bool isClassic)
    {
        const int Transactions = 40;
        var topic = await fixture.CreateTopicAsync(4, KeepAll);
        var producer = await NewProducerAsync();
        var expected = new List<string?>();
        for (var i = 0; i < Transactions; i++)
        {
            // The markers of the transaction before are being written just now.
            if (isClassic)
                Assert.Equal(ErrorCode.None, await producer.AddAsync(topic, 0, 1, 2, 3));
            for (var partition = 0; partition < 4; partition++)
            {
                Assert.Equal(
                    ErrorCode.None,
                    (await producer.ProduceAsync(topic, partition, isClassic, $"{i}")).ErrorCode);
            }

            Assert.Equal(ErrorCode.None, await producer.EndAsync(i % 3 != 0, isClassic));
            if (i % 3 != 0)
                expected.Add($"{i}");
        }

        await WaitForStateAsync(producer.Id, Transactions % 3 != 1 ? "CompleteCommit" : "CompleteAbort");
        for (var partition = 0; partition < 4; partition++)
            Assert.Equal(expected, await CommittedAsync(topic, partition));
    }

    /// <summary>
    /// The coordinator is asked again until the markers of the transaction before are written: they must not end what
    /// is asked about the new one.
    /// </summary>
    [Fact]
    public async Task A_newer_producer_goes_on_while_its_last_transaction_is_still_being_ended()
    {
        const int Partitions = 16;
        var topic = await fixture.CreateTopicAsync(Partitions, KeepAll);
        var producer = await NewProducerAsync();
        await fixture.Client.SendAsync<FindCoordinatorResponse>(
            new FindCoordinatorRequest { KeyType = 0, CoordinatorKeys = [producer.Id] });
        for (var round = 0; round < 20; round++)
        {
            // What is asked for first waits for the markers: in turn offsets, and a partition.
            if (round % 2 == 0)
                Assert.Equal(ErrorCode.None, await producer.CommitAsync(producer.Id, topic, round));
            for (var partition = Partitions - 1; partition >= 0; partition--)
                Assert.Equal(ErrorCode.None, (await producer.ProduceAsync(topic, partition, false, "a")).ErrorCode);
            if (round % 2 == 1)
                Assert.Equal(ErrorCode.None, await producer.CommitAsync(producer.Id, topic, round));
            Assert.Equal(ErrorCode.None, await producer.EndAsync(round % 3 == 0, false));
        }

        await WaitForStateAsync(producer.Id, "CompleteAbort");
        Assert.Equal(7, (await CommittedAsync(topic, 0)).Count);
    }

    [Fact]
    public async Task Transactions_are_listed_by_state_producer_and_name()
    {
        var topic = await fixture.CreateTopicAsync(1, KeepAll);
        var producer = await NewProducerAsync();
        await producer.ProduceAsync(topic, 0, false, "a");
        async Task<IEnumerable<string>> ListAsync(ListTransactionsRequest request) =>
            (await fixture.Client.SendAsync<ListTransactionsResponse>(request)).TransactionStates
                .Select(static t => t.TransactionalId);
        Assert.Contains(producer.Id, await ListAsync(new()));
        Assert.Contains(producer.Id, await ListAsync(new() { StateFilters = ["Ongoing", "Nonsense"] }));
        Assert.DoesNotContain(producer.Id, await ListAsync(new() { StateFilters = ["Empty"] }));
        Assert.Equal([producer.Id], await ListAsync(new() { ProducerIdFilters = [producer.ProducerId] }));
        var pattern = producer.Id.Replace("topic", "t.p+ic", StringComparison.Ordinal);
        Assert.Equal([producer.Id], await ListAsync(new() { TransactionalIdPattern = pattern }));
        Assert.Empty(await ListAsync(new() { DurationFilter = 3_600_000 }));
        var unknown = await fixture.Client.SendAsync<ListTransactionsResponse>(
            new ListTransactionsRequest { StateFilters = ["Nonsense"] });
        Assert.Equal(["Nonsense"], unknown.UnknownStateFilters);
        Assert.Empty(unknown.TransactionStates);
        var bad = await fixture.Client.SendAsync<ListTransactionsResponse>(
            new ListTransactionsRequest { TransactionalIdPattern = "(" });
        Assert.Equal(ErrorCode.InvalidRegularExpression, bad.ErrorCode);
        Assert.Equal(
            ErrorCode.TransactionalIdNotFound,
            Assert.Single((await DescribeAsync("nobody")).TransactionStates).ErrorCode);
        var described = Assert.Single((await DescribeAsync(producer.Id)).TransactionStates);
        Assert.Equal((topic.Name, 0), (described.Topics[0].Topic, Assert.Single(described.Topics[0].Partitions)));
    }

    [Theory]
    [InlineData(true, true)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(false, false)]
    public async Task Offsets_of_a_transaction_hold_when_it_commits_and_never_when_it_aborts(
        bool isClassic, bool isCommit)
    {
        var topic = await fixture.CreateTopicAsync(1, KeepAll);
        var group = await TestGroup.FindAsync(fixture.Client, fixture.NewName());
        Assert.Equal(ErrorCode.None, await group.CommitAsync(topic, 1));
        var producer = await NewProducerAsync();
        if (isClassic)
            Assert.Equal(ErrorCode.None, await producer.AddOffsetsAsync(group.Id));
        Assert.Equal(ErrorCode.None, await producer.CommitAsync(group.Id, topic, 5, isClassic ? (short)3 : (short)5));
        Assert.Equal(1, (await group.FetchAsync(topic)).Offset);
        Assert.Equal(ErrorCode.UnstableOffsetCommit, (await group.FetchAsync(topic, requireStable: true)).Error);
        Assert.Equal(ErrorCode.None, await producer.EndAsync(isCommit, isClassic));
        await WaitForStateAsync(producer.Id, isCommit ? "CompleteCommit" : "CompleteAbort");
        var (error, offset, _, _) = await group.FetchAsync(topic, requireStable: true);
        Assert.Equal((ErrorCode.None, isCommit ? 5 : 1), (error, offset));
    }

    [Fact]
    public async Task Offsets_are_not_committed_in_a_transaction_that_does_not_have_the_group()
    {
        var topic = await fixture.CreateTopicAsync();
        var group = await TestGroup.FindAsync(fixture.Client, fixture.NewName());
        var producer = await NewProducerAsync();
        Assert.Equal(ErrorCode.InvalidTxnState, await producer.CommitAsync(group.Id, topic, 5, 3));
        Assert.Equal(ErrorCode.TransactionAbortable, await producer.CommitAsync(group.Id, topic, 5, 4));
    }

    [Fact]
    public async Task A_partition_that_does_not_exist_keeps_the_others_out()
    {
        var topic = await fixture.CreateTopicAsync(1, KeepAll);
        var producer = await NewProducerAsync();
        var response = await fixture.Client.SendAsync<AddPartitionsToTxnResponse>(
            producer.AddRequest(topic, 0, 5), 3);
        // Kafka's order is that of a hash table.
        Assert.Equal(
            [(0, ErrorCode.OperationNotAttempted), (5, ErrorCode.UnknownTopicOrPartition)],
            response.ResultsByTopicV3AndBelow[0].ResultsByPartition
                .Select(static p => (p.PartitionIndex, p.PartitionErrorCode)).Order());
    }

    [Fact]
    public async Task Decided_transactions_are_ended_after_a_restart()
    {
        var folder = Directory.CreateTempSubdirectory("kbroker-broker-").FullName;
        try
        {
            string[] values = ["a", "b"];
            string id;
            await using (var broker = await TestBroker.StartAsync(folder))
            await using (var client = await broker.ConnectAsync())
            {
                var topic = await TestTopic.CreateAsync(client, "orders", 1, KeepAll);
                var producer = await TestProducer.CreateAsync(client, "t");
                id = producer.Id;
                await producer.ProduceAsync(topic, 0, false, values);
                Assert.Equal(ErrorCode.None, await producer.EndAsync(true, false));
                await producer.ProduceAsync(topic, 0, false, "open");
                Assert.Empty(broker.Log.Errors);
            }

            await using (var broker = await TestBroker.StartAsync(folder))
            await using (var client = await broker.ConnectAsync())
            {
                var described = await client.SendAsync<MetadataResponse>(
                    new MetadataRequest { Topics = [new() { Name = "orders" }] });
                var topic = new TestTopic(client, "orders", described.Topics[0].TopicId);
                Assert.Equal(values, await CommittedAsync(client, topic, 0));
                var second = await TestProducer.CreateAsync(client, id);
                Assert.Equal(ErrorCode.None, (await second.ProduceAsync(topic, 0, false, "c")).ErrorCode);
                Assert.Equal(ErrorCode.None, await second.EndAsync(true, false));
                await WaitForStateAsync(client, id, "CompleteCommit");
                Assert.Equal([.. values, "c"], await CommittedAsync(client, topic, 0));
                Assert.Empty(broker.Log.Errors);
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static Task<DescribeTransactionsResponse> DescribeAsync(ProtocolClient client, string id) =>
        client.SendAsync<DescribeTransactionsResponse>(new DescribeTransactionsRequest { TransactionalIds = [id] });

    private static async Task WaitForStateAsync(ProtocolClient client, string id, string state)
    {
        var deadline = DateTime.UtcNow + ProtocolClient.Deadline;
        string found;
        do
        {
            found = Assert.Single((await DescribeAsync(client, id)).TransactionStates).TransactionState;
            Assert.True(DateTime.UtcNow < deadline, $"{id} is {found}, not {state}");
        }
        while (found != state);
    }

    /// <summary>What a read_committed consumer sees: nothing of transactions that are aborted or open.</summary>
    private static async Task<List<string?>> CommittedAsync(ProtocolClient client, TestTopic topic, int partition)
    {
        var values = new List<string?>();
        var aborting = new HashSet<long>();
        FetchResponse.PartitionData data;
        long offset = 0;
        do
        {
            // The markers are much younger than the records, and so begin a new segment: an answer has one only.
            var request = topic.FetchRequest(offset, partition: partition);
            request.IsolationLevel = 1;
            var response = await client.SendAsync<FetchResponse>(request);
            data = Assert.Single(Assert.Single(response.Responses).Partitions);
            Assert.Equal(ErrorCode.None, data.ErrorCode);
            var open = new Queue<FetchResponse.AbortedTransaction>(
                (data.AbortedTransactions ?? []).OrderBy(static t => t.FirstOffset));
            var bytes = new System.Buffers.ReadOnlySequence<byte>(data.Records?.ToArray() ?? []);
            while (RecordBatches.Inspect(bytes, out var header) == RecordBatchStatus.Whole)
            {
                while (open.TryPeek(out var next) && next.FirstOffset <= header.LastOffset)
                    aborting.Add(open.Dequeue().ProducerId);
                if (header.IsControl)
                    aborting.Remove(header.ProducerId);
                else if (!header.IsTransactional || !aborting.Contains(header.ProducerId))
                    values.AddRange(Batches.Values(new Records(bytes.Slice(0, header.SizeInBytes).First)));
                bytes = bytes.Slice(header.SizeInBytes);
                offset = header.NextOffset;
            }
        }
        while (offset < data.LastStableOffset);

        return values;
    }

    private Task<TestProducer> NewProducerAsync(string? id = null, int timeoutMs = 60_000) =>
        TestProducer.CreateAsync(fixture.Client, id ?? fixture.NewName(), timeoutMs);

    private Task<DescribeTransactionsResponse> DescribeAsync(string id) => DescribeAsync(fixture.Client, id);

    private Task WaitForStateAsync(string id, string state) => WaitForStateAsync(fixture.Client, id, state);

    private Task<List<string?>> CommittedAsync(TestTopic topic, int partition) =>
        CommittedAsync(fixture.Client, topic, partition);
}
