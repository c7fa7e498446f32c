using System.Globalization;
using Confluent.Kafka;
using Confluent.Kafka.Admin;
using KBroker.Compat.Harness;

namespace KBroker.Compat.Confluent.Tests.Transactions;

/// <summary>
/// Producers behind a network that breaks connections, delays answers, and delivers requests twice: every record is there
/// once, and in order.
/// </summary>
public sealed class BadNetworkTests(ConfluentFixture fixture) : TransactionTest(fixture), IAsyncLifetime
{
    private const string Topic = "bad-network";
    private const int Partitions = 3;
    private const short ProduceKey = 0;
    private static readonly NetworkFault[] All = Enum.GetValues<NetworkFault>()[1..];

    /// <summary>Produce, InitProducerId, AddPartitionsToTxn, EndTxn.</summary>
    private static readonly short[] TransactionKeys = [ProduceKey, 22, 24, 26];
    private BadNetwork? _network;
    private BrokerProcess? _broker;

    /// <summary>One seed, or as many as <c>KBROKER_NETWORK_SEEDS</c> says.</summary>
    public static TheoryData<int> Seeds
    {
        get
        {
            var count = Environment.GetEnvironmentVariable("KBROKER_NETWORK_SEEDS") ?? "1";
            return [.. Enumerable.Range(1, int.Parse(count, CultureInfo.InvariantCulture))];
        }
    }

    private BadNetwork Network => _network!;

    private string Bootstrap => $"127.0.0.1:{Network.Port}";

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        if (TestContext.Current.TestState?.Result == TestResult.Failed)
            TestContext.Current.TestOutputHelper?.WriteLine("end of this broker's log:\n" + _broker?.LogTail);
        if (_network is not null)
            await _network.DisposeAsync();
        if (_broker is not null)
            await _broker.DisposeAsync();
        Dispose();
        GC.SuppressFinalize(this);
    }

    [Theory]
    [MemberData(nameof(Seeds))]
    public async Task An_idempotent_producer_writes_every_record_once_and_in_order(int seed)
    {
        await StartAsync(seed, All, ProduceKey);
        var count = ProduceThrough(5, idempotent: true);
        Assert.Equal(All.Length, Network.Done.Count);
        for (var partition = 0; partition < Partitions; partition++)
            Assert.Equal(Numbers(0, count), Read(Topic, partition, IsolationLevel.ReadUncommitted, Bootstrap));
    }

    /// <summary>Without idempotence it does not go well: so the network is bad indeed.</summary>
    [Fact]
    public async Task A_producer_without_idempotence_writes_records_twice()
    {
        await StartAsync(1, All, ProduceKey);
        var count = ProduceThrough(1, idempotent: false);
        var read = Enumerable.Range(0, Partitions)
            .Select(p => Read(Topic, p, IsolationLevel.ReadUncommitted, Bootstrap)).ToList();
        Assert.All(read, r => Assert.Equal(count, r.Distinct().Count()));
        Assert.Contains(read, r => r.Count > count);
    }

    /// <summary>
    /// Not with requests that come again late: librdkafka's epoch does not rise with each transaction, so an old EndTxn
    /// would end the wrong one (what KIP-890 is about), and an old batch before the first of a transaction makes that one
    /// look out of order. Kafka's broker takes them the same way.
    /// </summary>
    [Theory]
    [MemberData(nameof(Seeds))]
    public async Task Transactions_are_whole_and_once(int seed)
    {
        const int Transactions = 40;
        await StartAsync(seed, [.. All.Except([NetworkFault.SendAgainLater])], TransactionKeys);
        using var producer = Transactional(NewId(), Impatient);
        Network.FaultPercent = 10;
        var expected = new List<string?>();
        for (var i = 0; i < Transactions; i++)
        {
            var value = i.ToString(CultureInfo.InvariantCulture);
            if (i % 4 != 3)
                expected.Add(value);
            Run(producer, value, isCommit: i % 4 != 3);
        }

        Network.FaultPercent = 0;
        Assert.NotEmpty(Network.Done);
        for (var partition = 0; partition < Partitions; partition++)
        {
            await Poll.UntilAsync("the last marker is there", () => Seen(partition).Count >= expected.Count);
            Assert.Equal(expected, Seen(partition));
        }

        List<string?> Seen(int partition) => Read(Topic, partition, IsolationLevel.ReadCommitted, Bootstrap);
    }

    /// <summary>One transaction over all partitions; again from the start when it had to be aborted.</summary>
    private static void Run(IProducer<byte[]?, byte[]?> producer, string value, bool isCommit)
    {
        while (true)
        {
            try
            {
                producer.BeginTransaction();
                for (var partition = 0; partition < Partitions; partition++)
                    producer.Produce(new TopicPartition(Topic, partition), Message(value));
                if (isCommit)
                {
                    Again(() => producer.CommitTransaction(Limit));
                }
                else
                {
                    producer.Flush(Limit);
                    Again(() => producer.AbortTransaction(Limit));
                }

                return;
            }
            catch (KafkaTxnRequiresAbortException)
            {
                Again(() => producer.AbortTransaction(Limit));
            }
        }
    }

    private static void Again(Action action)
    {
        while (true)
        {
            try
            {
                action();
                return;
            }
            catch (KafkaRetriableException)
            {
                // It goes on where it was.
            }
        }
    }

    /// <summary>Numbers from 0 on to each partition, for as long as not each fault was made at least twice.</summary>
    private int ProduceThrough(int inFlight, bool idempotent)
    {
        const int Chunk = 400;
        var failed = new List<Error>();
        using var producer = Producer(c =>
        {
            Impatient(c);
            c.EnableIdempotence = idempotent;
            c.MaxInFlight = inFlight;
            c.MessageSendMaxRetries = int.MaxValue;
            c.BatchNumMessages = 20;
        });
        Network.FaultPercent = 8;
        var count = 0;
        for (; count < 30 * Chunk && (count < 5 * Chunk || !IsEnough()); count += Chunk)
        {
            foreach (var number in Numbers(count, Chunk))
            {
                for (var partition = 0; partition < Partitions; partition++)
                    producer.Produce(new TopicPartition(Topic, partition), Message(number), report =>
                    {
                        if (report.Error.IsError)
                            failed.Add(report.Error);
                    });
            }

            Assert.Equal(0, producer.Flush(Limit));
        }

        Network.FaultPercent = 0;
        Assert.Empty(failed);
        return count;

        bool IsEnough() => All.All(f => Network.Done.GetValueOrDefault(f) >= 2);
    }

    private void Impatient(ProducerConfig config)
    {
        config.BootstrapServers = Bootstrap;
        config.SocketTimeoutMs = 1000;
        config.ReconnectBackoffMs = 10;
        config.ReconnectBackoffMaxMs = 50;
        config.RetryBackoffMs = 10;
        config.RetryBackoffMaxMs = 50;
        config.LingerMs = 1;
    }

    private async Task StartAsync(int seed, NetworkFault[] faults, params short[] apis)
    {
        _network = new BadNetwork(seed, TimeSpan.FromMilliseconds(1500), apis) { Faults = faults };
        _broker = await BrokerProcess.StartAsync(
            [$"advertised.listeners=PLAINTEXT://{Bootstrap}", .. QuickTransactions]);
        _network.Connect(_broker.Port);
        using var admin = new AdminClientBuilder(new AdminClientConfig { BootstrapServers = Bootstrap }).Build();
        await admin.CreateTopicsAsync([new TopicSpecification { Name = Topic, NumPartitions = Partitions }]);
    }
}
