using System.Globalization;
using Confluent.Kafka;
using Confluent.Kafka.Admin;
using KBroker.Compat.Harness;
using KBroker.Storm.History;

namespace KBroker.Compat.Confluent.Tests.Groups;

/// <summary>Members and brokers that end without a word.</summary>
public sealed class CrashTests(ConfluentFixture fixture) : GroupTest(fixture)
{
    private const int Partitions = 6;

    [Theory]
    [InlineData(Agreement.RoundRobin)]
    [InlineData(Agreement.CooperativeSticky)]
    [InlineData(Agreement.Uniform)]
    public async Task The_partitions_of_a_killed_process_go_to_the_others(Agreement agreement)
    {
        var topic = await Fixture.CreateTopicAsync(Partitions);
        Fill(topic, Partitions, 50);
        Join(Settings(topic, agreement));
        var doomed = Worker();
        doomed.Join(Settings(topic, agreement));
        doomed.Join(Settings(topic, agreement));
        await SharedAsync(topic, Partitions, 3);
        Fill(topic, Partitions, 50);
        await doomed.KillAsync();
        Fill(topic, Partitions, 50);
        await SharedAsync(topic, Partitions, 1);
        await ProcessedAsync(topic, Partitions * 150);
        await CommittedToTheEndAsync(topic, Partitions);
        await HistoryIsSoundAsync(Partitions, topic);
    }

    [Theory]
    [InlineData(Agreement.CooperativeSticky)]
    [InlineData(Agreement.Uniform)]
    public async Task A_killed_static_member_comes_back_to_its_partitions(Agreement agreement)
    {
        var topic = await Fixture.CreateTopicAsync(Partitions);
        Join(Settings(topic, agreement, "stays") with { SessionTimeoutMs = 45_000 });
        var doomed = Worker();
        var first = Settings(topic, agreement, "dies") with { SessionTimeoutMs = 45_000 };
        doomed.Join(first);
        await SharedAsync(topic, Partitions, 2);
        Fill(topic, Partitions, 20);
        await ProcessedAsync(topic, Partitions * 20);
        await doomed.KillAsync();
        Fill(topic, Partitions, 20);
        // In a consumer group the instance is released only when the session of the dead has ended; a client does not
        // wait.
        if (!IsClassic(agreement))
            await Poll.UntilAsync("the dead is missed", async () => (await DescribeAsync()).Members.Count == 1);
        Join(Settings(topic, agreement, "dies") with { SessionTimeoutMs = 45_000 });
        await SharedAsync(topic, Partitions, 2);
        await ProcessedAsync(topic, Partitions * 40);
        await CommittedToTheEndAsync(topic, Partitions);
        await HistoryIsSoundAsync(Partitions, topic);
    }

    [Theory]
    [InlineData(Agreement.RoundRobin)]
    [InlineData(Agreement.CooperativeSticky)]
    [InlineData(Agreement.Uniform)]
    public async Task Commits_survive_a_broker_that_is_killed_and_members_go_on(Agreement agreement)
    {
        const string Topic = "survives";
        const int Kills = 2;
        var directory = Directory.CreateTempSubdirectory("kbroker-compat-").FullName;
        var site = BrokerSite.Plain(directory, [.. QuickGroups]);
        var broker = await BrokerProcess.StartAtAsync(site, CompatEnvironment.TargetIsKafka);
        try
        {
            using var admin = new AdminClientBuilder(new AdminClientConfig
            {
                BootstrapServers = broker.Bootstrap,
                ReconnectBackoffMaxMs = 500,
            }).SetLogHandler((_, _) => { }).Build();
            await admin.CreateTopicsAsync([new TopicSpecification { Name = Topic, NumPartitions = Partitions }]);
            using var producer = new Feed(broker.Bootstrap, Topic, Partitions);
            Join(Settings(Topic, agreement) with { Bootstrap = broker.Bootstrap, RecordsPerCommit = 20 });
            Join(Settings(Topic, agreement) with { Bootstrap = broker.Bootstrap, RecordsPerCommit = 20 });
            await SharedAsync(Topic, Partitions, 2);
            for (var kill = 0; kill < Kills; kill++)
            {
                var before = Commits();
                await Poll.UntilAsync("commits come", () => Commits() > before + 20);
                await broker.KillAsync();
                await broker.DisposeAsync();
                var acknowledged = History.Events;
                broker = await BrokerProcess.StartAtAsync(site, CompatEnvironment.TargetIsKafka);
                Assert.Empty(GroupCheck.CommitsLost(acknowledged, Committed(Topic, Partitions, broker.Bootstrap)));
            }

            var last = Commits();
            await Poll.UntilAsync("commits come again", () => Commits() > last + 20, TimeSpan.FromSeconds(90));
            await SharedAsync(Topic, Partitions, 2);
            var sent = producer.Stop();
            await ProcessedAsync(Topic, sent.Values.Sum());
            var events = History.Events;
            string[] problems =
            [
                .. GroupCheck.All(events),
                .. GroupCheck.CommitsLost(events, Committed(Topic, Partitions, broker.Bootstrap)),
                .. GroupCheck.NotProcessed(events, sent.ToDictionary(static s => (Topic, s.Key), static s => s.Value)),
            ];
            Assert.True(problems.Length == 0, string.Join('\n', problems) + Story() + broker.LogTail);
            await LeaveAllAsync();
        }
        finally
        {
            await broker.DisposeAsync();
            Directory.Delete(directory, recursive: true);
        }
    }

    private int Commits() => History.Events.Count(static e => e.Kind is EventKind.Committed);

    /// <summary>A producer that never stops, and knows at the end what each partition holds.</summary>
    private sealed class Feed : IDisposable
    {
        private readonly IProducer<Null, string> _producer;
        private readonly Task _sending;
        private readonly Dictionary<int, long> _ends = [];
        private volatile bool _stop;

        public Feed(string bootstrap, string topic, int partitions)
        {
            _producer = new ProducerBuilder<Null, string>(new ProducerConfig
            {
                BootstrapServers = bootstrap,
                EnableIdempotence = true,
                MessageTimeoutMs = 120_000,
                ReconnectBackoffMaxMs = 500,
                LingerMs = 5,
            }).SetLogHandler((_, _) => { }).Build();
            _sending = Task.Run(() =>
            {
                for (var i = 0; !_stop; i++)
                {
                    var value = i.ToString(CultureInfo.InvariantCulture);
                    var partition = new TopicPartition(topic, i % partitions);
                    _producer.Produce(partition, new() { Value = value }, Report);
                    if (i % 60 == 59)
                        _producer.Flush(TimeSpan.FromSeconds(120));
                }
            });
        }

        /// <summary>Sends no more; the end offset of each partition.</summary>
        public Dictionary<int, long> Stop()
        {
            _stop = true;
            _sending.Wait();
            Assert.Equal(0, _producer.Flush(TimeSpan.FromSeconds(120)));
            lock (_ends)
                return new(_ends);
        }

        public void Dispose()
        {
            _stop = true;
            _sending.Wait();
            _producer.Dispose();
        }

        private void Report(DeliveryReport<Null, string> report)
        {
            if (report.Error.IsError)
                return;
            lock (_ends)
                _ends[report.Partition] = Math.Max(_ends.GetValueOrDefault(report.Partition), report.Offset + 1);
        }
    }
}
