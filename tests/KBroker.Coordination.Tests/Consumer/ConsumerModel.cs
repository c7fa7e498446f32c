using KBroker.Coordination.Groups.Consumer.State;
using KBroker.Coordination.Runtime;
using KBroker.Coordination.Tests.Harness;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Tests.Consumer;

/// <summary>
/// Members that follow KIP-848 faithfully, on a shard, in a random order: they join, leave, die silently, come back as
/// static members, change what they subscribe to, lose answers; topics come, grow and go; the broker restarts. At no
/// time do two members that the group knows own the same partition. In the end everybody is stable, everything that is
/// subscribed to is owned, and the log gives the same state.
/// </summary>
/// <param name="seed">Chooses everything.</param>
internal sealed class ConsumerModel(int seed) : ISeededModel
{
    private const int SessionTimeoutMs = 45_000;
    private static readonly string[] Names = ["a", "b", "c"];

    private readonly Random _random = new(seed);
    private readonly ShardDriver _driver = ConsumerDriver.Create();
    private readonly List<ModelMember> _members = [];
    private readonly Dictionary<string, int> _generations = [];
    private readonly List<string> _story = [];
    private int _memberIds;

    /// <summary>What happened.</summary>
    public IEnumerable<string> Story => _story;

    public void Run(int actions)
    {
        Create("a");
        for (var i = 0; i < actions; i++)
        {
            Act(_random.Next(100));
            CheckOwners();
        }

        Settle();
        CheckEnd();
    }

    private void Act(int die)
    {
        switch (die)
        {
            case < 10:
                Join();
                break;
            case < 14 when Any() is { } leaver:
                Tell($"{leaver} leaves");
                Leave(leaver);
                break;
            case < 18 when Any() is { } dead:
                Tell($"{dead} dies");
                dead.IsAlive = false;
                break;
            case < 23 when Any() is { } changer:
                changer.Topics = Subscription();
                changer.IsFull = true;
                Tell($"{changer} subscribes to {string.Join(',', changer.Topics)}");
                break;
            case < 27:
                ChangeTopics();
                break;
            case < 29:
                Tell("the broker restarts");
                _driver.Reload();
                break;
            case < 33:
                Pass(_random.Next(2) == 0 ? 5_000 : SessionTimeoutMs / 3);
                break;
            case < 38 when Any() is { } unlucky:
                Tell($"{unlucky} loses an answer");
                Beat(unlucky, isLost: true);
                break;
            case < 70 when Any() is { } reconciler:
                reconciler.Reconcile();
                break;
            default:
                if (Any() is { } member)
                    Beat(member);
                break;
        }
    }

    private ModelMember? Any()
    {
        var alive = _members.Where(static m => m.IsAlive).ToList();
        return alive.Count == 0 ? null : alive[_random.Next(alive.Count)];
    }

    private void Tell(string line) => _story.Add(line);

    private void Join()
    {
        if (_members.Count(static m => m.IsAlive) >= 8)
            return;
        var instance = _random.Next(3) == 0 ? $"i{_random.Next(4)}" : null;
        if (instance is not null && _members.Exists(m => m.IsAlive && m.Instance == instance))
            return;
        var member = new ModelMember($"m{++_memberIds}", instance) { Topics = Subscription() };
        Tell($"{member} joins for {string.Join(',', member.Topics)}");
        _members.Add(member);
        Beat(member);
    }

    private void Leave(ModelMember member)
    {
        member.IsAlive = false;
        var epoch = member.Instance is not null && _random.Next(2) == 0 ? -2 : -1;
        // Who leaves has given back everything before.
        member.Owned.Clear();
        try
        {
            _driver.Leave(member.Id, instance: member.Instance, epoch: epoch);
        }
        catch (CoordinatorException refused) when (
            refused.Error is ErrorCode.UnknownMemberId or ErrorCode.GroupIdNotFound or ErrorCode.FencedInstanceId)
        {
            Tell($"{member} was no member any more");
        }
    }

    private void Beat(ModelMember member, bool isLost = false)
    {
        var isJoin = member.Epoch == 0;
        // Who says that he does not own what he was told to, and takes it afterwards, may take it from another: the
        // broker believes him. KIP-848 leaves that to clients; so these ones take first, and say then.
        if (member.IsFull || member.OwnedChanged)
            member.Reconcile();
        var says = isJoin || member.IsFull || member.OwnedChanged;
        var request = new ConsumerGroupHeartbeatRequest
        {
            GroupId = "g",
            MemberId = member.Id,
            InstanceId = member.Instance,
            MemberEpoch = member.Epoch,
            RebalanceTimeoutMs = isJoin || member.IsFull ? 300_000 : -1,
            SubscribedTopicNames = isJoin || member.IsFull ? [.. member.Topics] : null,
            TopicPartitions = says ? member.OwnedTopics() : null,
        };
        ConsumerGroupHeartbeatResponse response;
        try
        {
            response = _driver.Heartbeat(request);
        }
        catch (CoordinatorException refused)
        {
            Tell($"{member} is refused: {refused.Error}");
            switch (refused.Error)
            {
                case ErrorCode.FencedMemberEpoch or ErrorCode.UnknownMemberId or ErrorCode.GroupIdNotFound:
                    member.Abandon();
                    return;
                case ErrorCode.UnreleasedInstanceId when isJoin:
                    // The one before has died, and its session still runs: try later.
                    return;
                case ErrorCode.FencedInstanceId:
                    member.Abandon();
                    member.IsAlive = false;
                    return;
                default:
                    throw;
            }
        }

        member.LastBeatMs = _driver.NowMs;
        if (isLost)
        {
            // The client repeats everything when it hears nothing.
            member.IsFull = true;
            return;
        }

        Assert.True(response.MemberEpoch >= member.Epoch, $"{member}: epoch {response.MemberEpoch} is lower");
        member.Take(response);
    }

    /// <summary>Lets time pass: whoever lives sends heartbeats meanwhile.</summary>
    private void Pass(int milliseconds)
    {
        for (var left = milliseconds; left > 0; left -= 5_000)
        {
            _driver.Advance(Math.Min(left, 5_000));
            foreach (var member in _members.Where(static m => m.IsAlive).ToList())
                Beat(member);
        }
    }

    private string[] Subscription()
    {
        var names = Names.Where(_ => _random.Next(2) == 0).ToArray();
        return names.Length == 0 ? ["a"] : names;
    }

    private void Create(string name)
    {
        var generation = _generations[name] = _generations.GetValueOrDefault(name) + 1;
        _driver.Create(name, _random.Next(1, 12), generation);
    }

    private void ChangeTopics()
    {
        var name = Names[_random.Next(Names.Length)];
        if (_driver.Metadata.Topics.Find(name) is not { } topic)
        {
            Tell($"topic {name} is created");
            Create(name);
        }
        else if (_random.Next(3) == 0)
        {
            Tell($"topic {name} is deleted");
            _driver.Delete(name);
        }
        else
        {
            Tell($"topic {name} grows");
            _driver.Grow(name, topic.Partitions.Length + _random.Next(1, 5));
        }
    }

    /// <summary>Nobody dies or changes any more; time passes until the dead are gone and everybody has what he
    /// should.</summary>
    private void Settle()
    {
        Tell("now it settles");
        for (var round = 0; round < 40; round++)
        {
            Pass(5_000);
            foreach (var member in _members.Where(static m => m.IsAlive))
                member.Reconcile();
            CheckOwners();
        }
    }

    private void CheckOwners()
    {
        if (_driver.Shard.Groups.Find("g") is not ConsumerGroup group)
            return;
        var owners = new Dictionary<(Uuid, int), ModelMember>();
        foreach (var member in _members)
        {
            // Whom the group has put out owns nothing, whatever he thinks; he learns it with his next heartbeat.
            if (!group.Members.TryGetValue(member.Id, out var known) || known.MemberEpoch < 0
                || (member.Epoch > 0 && member.Epoch != known.MemberEpoch
                    && member.Epoch != known.PreviousMemberEpoch))
                continue;
            foreach (var partition in member.Owned)
            {
                Assert.True(
                    owners.TryAdd(partition, member),
                    $"{member} and {owners.GetValueOrDefault(partition)} both own partition {partition.Item2}");
            }
        }
    }

    private void CheckEnd()
    {
        var alive = _members.Where(static m => m.IsAlive && m.Epoch > 0).ToList();
        var waiting = _members.Where(static m => m.IsAlive && m.Epoch == 0).ToList();
        Assert.True(waiting.Count == 0, $"{string.Join(',', waiting)} never got in");
        if (alive.Count == 0)
            return;
        var group = _driver.Group();
        foreach (var member in group.Members.Values)
        {
            Tell($"{member.MemberId}: {member.State} epoch {member.MemberEpoch} of {group.AssignmentEpoch}, owns "
                + $"{member.Assigned}, gives up {member.PendingRevocation}, shall own "
                + $"{group.TargetOf(member.MemberId)}, thinks "
                + _members.Find(m => m.Id == member.MemberId)?.Describe());
        }

        Assert.Equal("Stable", group.StateName);
        Assert.Equal(alive.Select(static m => m.Id).Order(), group.Members.Keys.Order());
        foreach (var name in Names)
        {
            if (_driver.Metadata.Topics.Find(name) is not { } topic)
                continue;
            var subscribers = alive.Count(m => m.Topics.Contains(name));
            var owned = alive.SelectMany(static m => m.Owned)
                .Where(p => p.Topic == topic.Id)
                .Select(static p => p.Partition);
            Assert.Equal(
                subscribers == 0 ? [] : Enumerable.Range(0, topic.Partitions.Length), owned.Order());
        }

        foreach (var member in alive)
        {
            Assert.All(member.Owned, p => Assert.Contains(
                member.Topics, name => _driver.Metadata.Topics.Find(name)?.Id == p.Topic));
        }

        if (alive.TrueForAll(m => m.Topics.SequenceEqual(alive[0].Topics)))
            Assert.InRange(alive.Max(static m => m.Owned.Count) - alive.Min(static m => m.Owned.Count), 0, 1);
        CheckReplay(group);
    }

    private void CheckReplay(ConsumerGroup group)
    {
        var replayed = (ConsumerGroup)_driver.Replayed().Groups.Find("g")!;
        Assert.Equal(
            (group.GroupEpoch, group.AssignmentEpoch, group.MetadataHash),
            (replayed.GroupEpoch, replayed.AssignmentEpoch, replayed.MetadataHash));
        Assert.Equal(group.Members.Keys.Order(), replayed.Members.Keys.Order());
        foreach (var (id, member) in group.Members)
        {
            Assert.True(member.HasSameAssignment(replayed.Members[id]), $"{id} is not what the log says");
            Assert.True(member.HasSameSubscription(replayed.Members[id]), $"{id} is not what the log says");
            Assert.Equal(group.TargetOf(id), replayed.TargetOf(id));
        }
    }

    /// <summary>A consumer: gives up what it was told to, then takes what is new, and says so.</summary>
    private sealed class ModelMember(string id, string? instance)
    {
        private HashSet<(Uuid Topic, int Partition)> _told = [];
        private bool _mustConfirm;

        public string Id { get; } = id;

        public string? Instance { get; } = instance;

        public required string[] Topics { get; set; }

        public int Epoch { get; private set; }

        public bool IsAlive { get; set; } = true;

        /// <summary>The next heartbeat says everything.</summary>
        public bool IsFull { get; set; }

        /// <summary>The next heartbeat says what is owned.</summary>
        public bool OwnedChanged { get; private set; }

        public long LastBeatMs { get; set; }

        public HashSet<(Uuid Topic, int Partition)> Owned { get; } = [];

        public override string ToString() => Instance is null ? Id : $"{Id}/{Instance}";

        public string Describe() =>
            $"epoch {Epoch} owns {string.Join(' ', Owned.Select(static p => p.Partition))} of "
            + $"{string.Join(' ', _told.Select(static p => p.Partition))}";

        public void Take(ConsumerGroupHeartbeatResponse response)
        {
            Epoch = response.MemberEpoch;
            IsFull = false;
            OwnedChanged = false;
            if (response.Assignment is { } assignment)
            {
                _told = [.. assignment.TopicPartitions.SelectMany(
                    static topic => topic.Partitions.Select(partition => (topic.TopicId, partition)))];
                _mustConfirm = true;
            }
        }

        public void Reconcile()
        {
            // Every assignment is confirmed, also one that asks for nothing: an earlier one may have been lost.
            if (!_mustConfirm)
                return;
            _mustConfirm = false;
            Owned.IntersectWith(_told);
            Owned.UnionWith(_told);
            OwnedChanged = true;
        }

        public void Abandon()
        {
            Epoch = 0;
            Owned.Clear();
            _told = [];
            _mustConfirm = false;
            IsFull = false;
        }

        public List<ConsumerGroupHeartbeatRequest.TopicPartitionsData> OwnedTopics() =>
            [.. Owned.GroupBy(static p => p.Topic).Select(
                static topic => new ConsumerGroupHeartbeatRequest.TopicPartitionsData
                {
                    TopicId = topic.Key,
                    Partitions = [.. topic.Select(static p => p.Partition).Order()],
                })];
    }
}
