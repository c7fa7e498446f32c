using System.Globalization;
using Confluent.Kafka;
using KBroker.Compat.Confluent.Tests.Groups;
using KBroker.Compat.Harness;

namespace KBroker.Compat.Confluent.Tests.Transactions;

/// <summary>
/// Exactly once from topic to topic, while the instances come and go: every record of the input is in the output once,
/// and in the order of its partition.
/// </summary>
public sealed class PipelineTests(ConfluentFixture fixture) : TransactionTest(fixture)
{
    private const int Partitions = 6;
    private const int Chunk = 25;
    private readonly List<PipelineInstance> _instances = [];
    private readonly string _group = $"pipeline-{Guid.NewGuid():N}";
    private int _names;

    [Theory]
    [InlineData(Agreement.Range)]
    [InlineData(Agreement.CooperativeSticky)]
    [InlineData(Agreement.Uniform)]
    public async Task Every_record_comes_out_once_while_instances_leave_crash_and_join(Agreement agreement)
    {
        var input = await Fixture.CreateTopicAsync(Partitions);
        var output = await Fixture.CreateTopicAsync(Partitions);
        using var feed = new InputFeed(Producer(static c => c.EnableIdempotence = true), input);
        var first = Start(agreement, input, output, "one");
        await WorksAsync(first, feed);
        var second = Start(agreement, input, output, "two");
        await WorksAsync(second, feed);
        var third = Start(agreement, input, output, "three");
        await WorksAsync(third, feed);

        await second.LeaveAsync();
        feed.Add();
        // Its transaction stays open, and its partitions its own, until the coordinators miss it.
        await first.CrashAsync();
        feed.Add();
        // The successor has its transactional id, and fences it.
        var successor = Start(agreement, input, output, "one");
        await WorksAsync(successor, feed);

        for (var partition = 0; partition < Partitions; partition++)
            await OutputIsInputAsync(output, partition, feed.Count);
        // The instance that crashed had written something: it is there, for who wants to see it.
        Assert.Contains("crashed", Everything(output, 0));
        Assert.Contains("crashed", Everything(output, 1));
        foreach (var instance in _instances)
            await instance.LeaveAsync();
        await OutputIsInputAsync(output, 0, feed.Count);
        Assert.All(_instances, static i => Assert.Null(i.Failure));
    }

    private PipelineInstance Start(Agreement agreement, string input, string output, string name)
    {
        var classic = agreement is Agreement.Range or Agreement.CooperativeSticky;
        var instance = new PipelineInstance(
            new()
            {
                Name = string.Create(CultureInfo.InvariantCulture, $"{name}-{_names++}"),
                Bootstrap = Fixture.Broker.Bootstrap,
                Group = _group,
                Topic = input,
                Protocol = classic ? GroupProtocol.Classic : GroupProtocol.Consumer,
                Strategy = agreement is Agreement.Range
                    ? PartitionAssignmentStrategy.Range
                    : PartitionAssignmentStrategy.CooperativeSticky,
                SessionTimeoutMs = 6000,
            },
            output,
            $"{_group}-{name}",
            recordsPerTransaction: 40);
        _instances.Add(instance);
        return instance;
    }

    /// <summary>Feeds the group until the instance has got its share of the partitions, and committed something.</summary>
    private static async Task WorksAsync(PipelineInstance instance, InputFeed feed)
    {
        await Poll.UntilAsync(
            "it commits",
            () =>
            {
                feed.Add();
                return instance.Failure is not null || instance.Commits > 0;
            },
            TimeSpan.FromSeconds(90));
        Assert.Null(instance.Failure);
    }

    private async Task OutputIsInputAsync(string output, int partition, int count)
    {
        await Poll.UntilAsync(
            $"partition {partition} is done",
            () => _instances.Any(static i => i.Failure is not null) || Committed(output, partition).Count >= count,
            TimeSpan.FromSeconds(90));
        Assert.All(_instances, static i => Assert.Null(i.Failure));
        Assert.Equal(Numbers(0, count), await SettledAsync(output, partition));
    }

    /// <summary>The input: in each partition the numbers from 0 on.</summary>
    private sealed class InputFeed(IProducer<byte[]?, byte[]?> producer, string topic) : IDisposable
    {
        /// <summary>How many numbers each partition has.</summary>
        public int Count { get; private set; }

        public void Add()
        {
            for (var partition = 0; partition < Partitions; partition++)
                Send(producer, topic, partition, Numbers(Count, Chunk));
            Count += Chunk;
        }

        public void Dispose() => producer.Dispose();
    }
}
