using System.Globalization;
using Confluent.Kafka;
using Confluent.Kafka.Admin;
using KBroker.Compat.Harness;
using KBroker.Storm.History;
using KBroker.Storm.Members;
using KBroker.Storm.Workers;

namespace KBroker.Compat.Confluent.Tests.Groups;

/// <summary>
/// How the members of a group agree who gets what: the name of a protocol or an assignor, as theories have it.
/// </summary>
public enum Agreement
{
    Range,
    RoundRobin,
    CooperativeSticky,
    Uniform,
    RemoteRange,
}

/// <summary>
/// Tests of one group: who joins tells <see cref="History"/> everything, and at the end the history is checked.
/// </summary>
public abstract class GroupTest(ConfluentFixture fixture) : ConfluentTest(fixture), IAsyncDisposable
{
    private readonly List<GroupMember> _members = [];
    private readonly List<WorkerProcess> _workers = [];
    private int _names;

    /// <summary>Groups whose coordinator misses the dead, and talks to the living, soon.</summary>
    internal static string[] QuickGroups =>
    [
        "group.consumer.min.session.timeout.ms=6000",
        "group.consumer.session.timeout.ms=8000",
        "group.consumer.min.heartbeat.interval.ms=300",
        "group.consumer.heartbeat.interval.ms=300",
        "group.consumer.assignment.interval.ms=50",
    ];

    private protected GroupHistory History { get; } = new();

    /// <summary>Whether the test wants a member to fail; else a wait ends when one does.</summary>
    private protected bool MembersMayFail { get; set; }

    /// <summary>The group's id, new for each test.</summary>
    private protected string Group { get; } = $"group-{Guid.NewGuid():N}";

    public async ValueTask DisposeAsync()
    {
        await LeaveAllAsync();
        foreach (var worker in _workers)
            await worker.DisposeAsync();
        Dispose();
        GC.SuppressFinalize(this);
    }

    private protected static bool IsClassic(Agreement agreement) =>
        agreement is Agreement.Range or Agreement.RoundRobin or Agreement.CooperativeSticky;

    /// <summary>Settings of a member with a new name.</summary>
    private protected MemberSettings Settings(string topic, Agreement agreement, string? instance = null) => new()
    {
        Name = string.Create(CultureInfo.InvariantCulture, $"member-{Interlocked.Increment(ref _names)}"),
        Bootstrap = Fixture.Broker.Bootstrap,
        Group = Group,
        Topic = topic,
        Protocol = IsClassic(agreement) ? GroupProtocol.Classic : GroupProtocol.Consumer,
        Strategy = agreement switch
        {
            Agreement.Range => PartitionAssignmentStrategy.Range,
            Agreement.RoundRobin => PartitionAssignmentStrategy.RoundRobin,
            _ => PartitionAssignmentStrategy.CooperativeSticky,
        },
        RemoteAssignor = agreement switch
        {
            Agreement.Uniform => "uniform",
            Agreement.RemoteRange => "range",
            _ => null,
        },
        Instance = instance,
        SessionTimeoutMs = 8000,
    };

    /// <summary>A consumer of the group without a thread, for the test itself to work with.</summary>
    private protected IConsumer<byte[]?, byte[]?> GroupConsumer(
        Agreement agreement, Action<ConsumerConfig>? configure = null) => Consumer(c =>
        {
            var config = Settings("-", agreement).Config();
            config.EnablePartitionEof = false;
            configure?.Invoke(config);
            foreach (var (name, value) in config)
                c.Set(name, value);
        });

    private protected GroupMember Join(MemberSettings settings)
    {
        var member = new GroupMember(settings, History.Add);
        _members.Add(member);
        return member;
    }

    private protected WorkerProcess Worker()
    {
        var worker = new WorkerProcess(History);
        _workers.Add(worker);
        return worker;
    }

    /// <summary>All members leave; those that failed have gone already.</summary>
    private protected async Task LeaveAllAsync()
    {
        foreach (var member in _members)
            _ = member.LeaveAsync();
        foreach (var member in _members)
            await member.Ended.ContinueWith(static _ => { }, TaskScheduler.Default);
    }

    /// <summary>Waits until all partitions of the topic are owned, each by one of so many members.</summary>
    private protected Task SharedAsync(string topic, int partitions, int members) => HistoryAsync(
        $"{partitions} partitions shared by {members} members", () => History.IsShared(topic, partitions, members));

    /// <summary>Waits until so many records were worked on, by whomever.</summary>
    private protected Task ProcessedAsync(string topic, long records) => HistoryAsync(
        $"{records} records worked on", () => History.CountProcessed(topic) >= records);

    /// <summary>Waits for something in the history; fails at once when a member does, and tells the story.</summary>
    private protected async Task HistoryAsync(string what, Func<bool> condition)
    {
        try
        {
            await Poll.UntilAsync(
                what,
                () => condition() || (!MembersMayFail && History.Events.Any(static e => e.Kind is EventKind.Failed)),
                TimeSpan.FromSeconds(90));
            Assert.True(condition(), "a member failed");
        }
        catch (Exception problem) when (problem is TimeoutException or Xunit.Sdk.XunitException)
        {
            throw new InvalidOperationException(problem.Message + Story(), problem);
        }
    }

    /// <summary>Waits until the group has committed the end of each partition.</summary>
    private protected async Task CommittedToTheEndAsync(string topic, int partitions)
    {
        var ends = await EndsAsync(topic, partitions);
        await Poll.UntilAsync("no lag", () =>
        {
            var committed = Committed(topic, partitions);
            return ends.All(e => committed.GetValueOrDefault(e.Key) == e.Value);
        });
    }

    /// <summary>No rule of <see cref="GroupCheck"/> is broken, no commit lost, no record forgotten.</summary>
    /// <param name="partitions">How many partitions each topic has.</param>
    /// <param name="topics">All topics of the group.</param>
    private protected async Task HistoryIsSoundAsync(int partitions, params string[] topics)
    {
        var events = History.Events;
        var problems = GroupCheck.All(events);
        var committed = topics.SelectMany(t => Committed(t, partitions)).ToDictionary();
        problems.AddRange(GroupCheck.CommitsLost(events, committed));
        foreach (var topic in topics)
            problems.AddRange(GroupCheck.NotProcessed(events, await EndsAsync(topic, partitions)));
        Assert.True(problems.Count == 0, string.Join('\n', problems) + Story());
    }

    /// <summary>
    /// What the group has committed of a topic, as one of its consumers sees it; asks until it is answered.
    /// </summary>
    private protected Dictionary<(string Topic, int Partition), long> Committed(
        string topic, int partitions, string? bootstrap = null) =>
        GroupOffsets.Committed(bootstrap ?? Fixture.Broker.Bootstrap, Group, topic, partitions);

    private protected async Task<Dictionary<(string Topic, int Partition), long>> EndsAsync(string topic, int partitions)
    {
        var asked = Enumerable.Range(0, partitions).Select(p => new TopicPartitionOffsetSpec
        {
            TopicPartition = new(topic, p),
            OffsetSpec = OffsetSpec.Latest(),
        });
        // The client asks the leaders that it has cached; of partitions that were added it has none.
        Fixture.Admin.GetMetadata(topic, Limit);
        var found = await Fixture.Admin.ListOffsetsAsync(asked);
        return found.ResultInfos.Select(static r => r.TopicPartitionOffsetError)
            .ToDictionary(static r => (r.Topic, r.Partition.Value), static r => r.Offset.Value);
    }

    private protected async Task<ConsumerGroupDescription> DescribeAsync() =>
        Assert.Single((await Fixture.Admin.DescribeConsumerGroupsAsync([Group])).ConsumerGroupDescriptions);

    /// <summary>So many records to each partition.</summary>
    private protected void Fill(string topic, int partitions, int each)
    {
        using var producer = Producer();
        var failures = 0;
        for (var i = 0; i < each * partitions; i++)
        {
            var message = Message(i.ToString(CultureInfo.InvariantCulture));
            producer.Produce(
                new TopicPartition(topic, i % partitions), message, r => failures += r.Error.IsError ? 1 : 0);
        }

        Assert.Equal(0, producer.Flush(Limit));
        Assert.Equal(0, failures);
    }

    /// <summary>What happened last, for a failure.</summary>
    private protected string Story() => "\nthe history's end:\n" + string.Join('\n', History.Events.TakeLast(60));
}
