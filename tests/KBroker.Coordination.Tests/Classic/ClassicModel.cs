using KBroker.Coordination.Groups;
using KBroker.Coordination.Groups.Classic;
using KBroker.Coordination.Runtime;
using KBroker.Coordination.Tests.Harness;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Tests.Classic;

/// <summary>
/// A group and faithful clients that come, go, die and commit, on a broker that restarts, under a seed; after each
/// action it checks what must hold at any time, and at the end what must come about.
/// </summary>
internal sealed class ClassicModel : ISeededModel
{
    private const int Partitions = 12;
    private const string Topic = "t";

    // Longer than anything the protocol lets a member wait: five minutes for a new member, and a rebalance.
    private const long LongestWaitMs = ClassicSessions.NewMemberJoinTimeoutMs + 2 * ModelClient.RebalanceMs;

    private readonly Random _random;
    private readonly bool _cooperative;
    private readonly List<ModelClient> _clients = [];
    private readonly List<string> _story = [];
    private readonly Dictionary<(int Generation, int Partition), string> _owners = [];
    private readonly Dictionary<int, long> _committed = [];
    private long _nextOffset;
    private int _names;

    public ClassicModel(int seed)
    {
        _random = new Random(seed);
        _cooperative = _random.Next(2) == 0;
    }

    public ClassicHarness Harness { get; } = new();

    public long NowMs => Harness.Driver.NowMs;

    public bool HasGroup => Harness.Driver.Shard.Groups.Find(ClassicHarness.GroupId) is not null;

    /// <summary>What happened, for the message of a failure.</summary>
    public IEnumerable<string> Story => _story.TakeLast(60);

    public void Run(int actions)
    {
        for (var i = 0; i < actions; i++)
        {
            Act();
            CheckAlways();
        }

        _story.Add("calm");
        Pass(ModelClient.SessionMs + 4 * ModelClient.RebalanceMs);
        CheckCalm();
    }

    /// <summary>The assignors of a client: one that all know, and some in an order of its own.</summary>
    public (string Name, byte[] Metadata)[] ProtocolsOf(ModelClient client, bool cooperative)
    {
        var subscription = new ConsumerProtocolSubscription { Topics = [Topic], GenerationId = client.Generation };
        if (cooperative)
            subscription.OwnedPartitions.Add(new() { Topic = Topic, Partitions = [.. client.Owned.Order()] });
        var metadata = SubscriptionBytes.Of(3, subscription);
        var first = client.Name[^1] % 2 == 0;
        return first ? [("range", metadata), ("sticky", metadata)] : [("sticky", metadata), ("range", metadata)];
    }

    /// <summary>
    /// The leader's assignment: everybody gets as many, and a partition that its owner must give up goes to nobody in
    /// this generation.
    /// </summary>
    public static (string MemberId, byte[] Assignment)[] Assign(
        IReadOnlyList<JoinGroupResponse.JoinGroupResponseMember> members)
    {
        var ids = members.Select(static m => m.MemberId).Order(StringComparer.Ordinal).ToList();
        var owner = new Dictionary<int, (string Id, int Generation)>();
        foreach (var member in members)
        {
            var reader = new ProtocolReader(member.Metadata);
            var version = reader.ReadInt16();
            var said = ConsumerProtocolSubscription.Read(ref reader, version);
            foreach (var partition in said.OwnedPartitions.SelectMany(static t => t.Partitions))
            {
                if (!owner.TryGetValue(partition, out var other) || other.Generation < said.GenerationId)
                    owner[partition] = (member.MemberId, said.GenerationId);
            }
        }

        var assigned = ids.ToDictionary(static id => id, static _ => new List<byte>());
        for (var partition = 0; partition < Partitions; partition++)
        {
            var target = ids[partition % ids.Count];
            if (!owner.TryGetValue(partition, out var now) || now.Id == target)
                assigned[target].Add((byte)partition);
        }

        return [.. assigned.Select(static a => (a.Key, a.Value.ToArray()))];
    }

    /// <summary>A client has its assignment: nobody else may have any of it.</summary>
    public void OnAssigned(ModelClient client, HashSet<int> assigned)
    {
        var owner = client.InstanceId ?? client.MemberId;
        foreach (var partition in assigned)
        {
            if (!_owners.TryAdd((client.Generation, partition), owner))
                Assert.Equal(_owners[(client.Generation, partition)], owner);
            var other = _clients.Find(c => c != client && c.IsAlive && c.Owned.Contains(partition)
                && Harness.Group.FindMember(c.MemberId) is not null);
            Assert.True(other is null, $"{client} gets partition {partition}, which {other} has");
        }
    }

    private void Act()
    {
        var dice = _random.Next(100);
        var living = _clients.FindAll(static c => c.IsAlive);
        var one = living.Count == 0 ? null : living[_random.Next(living.Count)];
        switch (dice)
        {
            case < 12 when living.Count < 7:
                Start();
                break;
            case < 17 when one is not null:
                _story.Add($"{one} crashes");
                one.Crash();
                break;
            case < 22 when one is not null:
                _story.Add($"{one} leaves");
                one.Leave();
                break;
            case < 27:
                Restart();
                break;
            case < 45 when one is not null:
                Commit(one);
                break;
            case < 60 when one is not null:
                one.Hurry();
                one.Pump();
                break;
            case < 63:
                _story.Add("a long pause");
                Pass(_random.Next(40_000));
                break;
            default:
                Pass(_random.Next(4_000));
                break;
        }
    }

    private void Start()
    {
        var name = $"c{++_names}";
        short version = (short)_random.Next(1, 10);

        // A static name may still be in use, by one that crashed or lives: then the newer one wins.
        var instance = version >= 5 && _random.Next(2) == 0 ? $"i{_random.Next(4)}" : null;
        var client = new ModelClient(this, name, instance, version, _cooperative);
        _story.Add($"{name} starts, instance {instance}, version {version}");
        _clients.Add(client);
        client.Pump();
    }

    private void Restart()
    {
        _story.Add("the broker restarts");
        CheckReplay();
        Harness.Driver.Reload();
    }

    private void Commit(ModelClient client)
    {
        if (client.State != ModelClientState.Stable || client.Owned.Count == 0 || !HasGroup)
            return;
        var partition = client.Owned.ElementAt(_random.Next(client.Owned.Count));
        var offset = ++_nextOffset;
        var request = new GroupRequest<OffsetCommitRequest>(
            new OffsetCommitRequest
            {
                GroupId = ClassicHarness.GroupId,
                MemberId = client.MemberId,
                GroupInstanceId = client.InstanceId,
                GenerationIdOrMemberEpoch = client.Generation,
                Topics =
                [
                    new()
                    {
                        Name = Topic,
                        Partitions = [new() { PartitionIndex = partition, CommittedOffset = offset }],
                    },
                ],
            }, 9, new GroupClient(client.Name, "/127.0.0.1"));
        try
        {
            Harness.Driver.Run((shard, turn) => shard.Offsets.Requests.Commit(turn, request));
        }
        catch (CoordinatorException)
        {
            return;
        }

        // Who may commit is the owner of this generation, and nobody else.
        Assert.Equal(client.InstanceId ?? client.MemberId, _owners[(Harness.Group.GenerationId, partition)]);
        _committed[partition] = offset;
    }

    /// <summary>Lets time pass in small pieces; clients do what is due.</summary>
    private void Pass(long milliseconds)
    {
        _story.Add($"{milliseconds} ms pass");
        var end = NowMs + milliseconds;
        while (NowMs < end)
        {
            Harness.Driver.Advance(Math.Min(_random.Next(1, 700), end - NowMs));
            foreach (var client in _clients.ToList())
                client.Pump();
        }
    }

    private void CheckAlways()
    {
        foreach (var client in _clients)
        {
            Assert.True(
                client.WaitingSinceMs is not { } since || NowMs - since <= LongestWaitMs, $"{client} waits for ever");
        }

        foreach (var (partition, offset) in _committed)
        {
            Assert.True(Harness.Driver.Shard.Offsets.Committed.TryGet(
                ClassicHarness.GroupId, Topic, partition, out var found));
            Assert.Equal(offset, found.Offset);
        }

        if (!HasGroup)
            return;
        foreach (var member in Harness.Group.Members)
            Assert.True(member.NeedsNoHeartbeat || Harness.Driver.Timers.Contains(member.SessionKey));
    }

    /// <summary>The log says of a group at rest what the group is.</summary>
    private void CheckReplay()
    {
        if (!HasGroup || Harness.Group.State is not (ClassicGroupState.Stable or ClassicGroupState.Empty))
            return;
        var replayed = (ClassicGroup?)Harness.Driver.Replayed().Groups.Find(ClassicHarness.GroupId);
        Assert.NotNull(replayed);
        Assert.Equal(Describe(Harness.Group), Describe(replayed));

        static string Describe(ClassicGroup group) => string.Join('\n', group.Members
            .OrderBy(static m => m.MemberId, StringComparer.Ordinal)
            .Select(m => $"{m.MemberId} {m.InstanceId} {m.Client} {m.RebalanceTimeoutMs} {m.SessionTimeoutMs} "
                + $"{Convert.ToHexString(m.MetadataOf(group.ProtocolName).Span)} "
                + $"{Convert.ToHexString(m.Assignment.Span)}")
            .Prepend($"{group.State} {group.GenerationId} {group.ProtocolType} {group.ProtocolName} {group.LeaderId} "
                + $"{group.IsSubscribedTo(Topic)} {group.IsSubscribedTo("other")} "
                + $"{(group.IsEmpty ? group.StateTimestampMs : null)}"));
    }

    private void CheckCalm()
    {
        CheckAlways();
        CheckReplay();
        var living = _clients.FindAll(static c => c.IsAlive);
        Assert.All(living, static c => Assert.Equal(ModelClientState.Stable, c.State));
        if (living.Count == 0)
        {
            Assert.True(!HasGroup || Harness.Group.State == ClassicGroupState.Empty);
            return;
        }

        Assert.Equal(ClassicGroupState.Stable, Harness.Group.State);
        Assert.Equal(
            living.Select(static c => c.MemberId).Order(),
            Harness.Group.Members.Select(static m => m.MemberId).Order());
        Assert.Equal(Enumerable.Range(0, Partitions), living.SelectMany(static c => c.Owned).Order());
        Assert.All(living, c => Assert.Equal(Harness.Group.GenerationId, c.Generation));
    }
}
