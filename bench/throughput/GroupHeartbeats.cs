using System.Diagnostics;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Throughput;

/// <summary>
/// Thousands of members in groups of ten, on few connections: no two members of a group share one, because a join
/// waits for the others.
/// </summary>
internal sealed class GroupHeartbeats : IDisposable
{
    private const int MembersEach = 10;
    private const int Lanes = 10;
    private const string Topic = "groups";
    private static readonly TimeSpan SettleLimit = TimeSpan.FromMinutes(5);
    private readonly ProtocolConnection[][] _lanes;
    private readonly List<GroupMember>[][] _members;
    private readonly int _groups;
    private readonly string _prefix;
    private readonly Uuid _topicId;

    internal GroupHeartbeats(BrokerProcess broker, int members, string prefix)
    {
        (_groups, _prefix) = (members / MembersEach, prefix);
        using (var connection = broker.Connect())
        {
            _topicId = GroupWire.CreateTopic(connection, Topic + prefix, MembersEach);
            GroupWire.WaitForCoordinator(connection, Enumerable.Range(0, _groups).Select(Name));
        }

        _lanes = [.. Enumerable.Range(0, Lanes)
            .Select(_ => Enumerable.Range(0, MembersEach).Select(_ => broker.Connect()).ToArray())];
        _members = [.. _lanes.Select(lane => lane.Select(static _ => new List<GroupMember>()).ToArray())];
        for (int group = 0; group < _groups; group++)
        {
            for (int i = 0; i < MembersEach; i++)
                _members[group % Lanes][i].Add(new GroupMember(Name(group), _lanes[group % Lanes][i]));
        }
    }

    internal int Members => _groups * MembersEach;

    /// <summary>All members of the classic protocol join; each has its partition at the end.</summary>
    internal void JoinClassic() => EachLane(lane =>
    {
        for (int group = 0; group < _members[lane][0].Count; group++)
        {
            int index = group;
            GroupMember[] members = [.. _members[lane].Select(m => m[index])];
            foreach (var member in members)
                member.Id = Joined(member, ErrorCode.MemberIdRequired).MemberId;
            JoinTogether(members);
            foreach (var member in members)
                member.Heartbeat = ProtocolConnection.Frame(GroupWire.Heartbeat(member), GroupWire.HeartbeatVersion);
        }
    });

    /// <summary>
    /// All members of the consumer protocol join, and beat until each has its partition and nothing changes.
    /// </summary>
    internal void JoinConsumer()
    {
        EachLane(lane =>
        {
            foreach (var member in _members[lane].SelectMany(static m => m))
                (member.Id, member.Generation) = ($"{Guid.NewGuid():N}", 0);
            var limit = Stopwatch.StartNew();
            while (true)
            {
                bool changed = false;
                foreach (var members in _members[lane])
                {
                    foreach (var member in members) changed |= Beat(member);
                }

                if (!changed && _members[lane].All(static m => m.TrueForAll(static x => x.Owned.Count == 1))) break;
                if (limit.Elapsed > SettleLimit) throw new TimeoutException("the groups do not settle");
            }

            foreach (var member in _members[lane].SelectMany(static m => m))
            {
                member.Heartbeat = ProtocolConnection.Frame(
                    GroupWire.ConsumerHeartbeat(member, Topic + _prefix, _topicId), GroupWire.ConsumerHeartbeatVersion);
            }
        });
    }

    /// <summary>Every member beats, again and again, for so long.</summary>
    /// <returns>The number of heartbeats.</returns>
    internal long BeatFor(TimeSpan time, bool classic)
    {
        long count = 0;
        var clock = Stopwatch.StartNew();
        EachLane(lane =>
        {
            while (clock.Elapsed < time)
            {
                // A connection's heartbeats are all under way at once.
                foreach (var members in _members[lane])
                {
                    foreach (var member in members) member.Connection.Send(member.Heartbeat);
                }

                foreach (var members in _members[lane])
                {
                    foreach (var member in members) Answered(member, classic);
                    Interlocked.Add(ref count, members.Count);
                }
            }
        });
        return count;
    }

    public void Dispose()
    {
        foreach (var connection in _lanes.SelectMany(static l => l)) connection.Dispose();
    }

    private static void Answered(GroupMember member, bool classic)
    {
        var error = classic
            ? member.Connection.Receive<HeartbeatResponse>(ApiKey.Heartbeat, GroupWire.HeartbeatVersion).ErrorCode
            : member.Connection.Receive<ConsumerGroupHeartbeatResponse>(
                ApiKey.ConsumerGroupHeartbeat, GroupWire.ConsumerHeartbeatVersion).ErrorCode;
        GroupWire.Check(error, $"heartbeat of {member.Group}");
    }

    private string Name(int group) => $"{_prefix}-{group}";

    private bool Beat(GroupMember member) => GroupWire.Take(
        member,
        member.Connection.Call<ConsumerGroupHeartbeatResponse>(
            GroupWire.ConsumerHeartbeat(member, Topic + _prefix, _topicId), GroupWire.ConsumerHeartbeatVersion));

    private JoinGroupResponse Joined(GroupMember member, ErrorCode expected)
    {
        var join = GroupWire.Join(member, Topic + _prefix);
        var answer = member.Connection.Call<JoinGroupResponse>(join, GroupWire.JoinVersion);
        if (answer.ErrorCode != expected)
            throw new InvalidOperationException($"JoinGroup of {member.Group}: {answer.ErrorCode}, not {expected}");
        return answer;
    }

    /// <summary>All send their join before the first answer is read; again until all are in one generation.</summary>
    private void JoinTogether(GroupMember[] members)
    {
        while (true)
        {
            foreach (var member in members)
            {
                var join = GroupWire.Join(member, Topic + _prefix);
                member.Connection.Send(ProtocolConnection.Frame(join, GroupWire.JoinVersion));
            }

            JoinGroupResponse[] answers = [.. members.Select(static m =>
                m.Connection.Receive<JoinGroupResponse>(ApiKey.JoinGroup, GroupWire.JoinVersion))];
            foreach (var answer in answers) GroupWire.Check(answer.ErrorCode, "JoinGroup");
            if (answers.Max(static a => a.Members.Count) < members.Length) continue;
            var synced = true;
            for (int i = 0; i < members.Length; i++)
            {
                var sync = GroupWire.Sync(members[i], answers[i], Topic + _prefix, MembersEach);
                members[i].Connection.Send(ProtocolConnection.Frame(sync, GroupWire.SyncVersion));
            }

            for (int i = 0; i < members.Length; i++)
            {
                var answer = members[i].Connection.Receive<SyncGroupResponse>(ApiKey.SyncGroup, GroupWire.SyncVersion);
                members[i].Generation = answers[i].GenerationId;
                synced &= answer.ErrorCode == ErrorCode.None;
            }

            if (synced) return;
        }
    }

    private static void EachLane(Action<int> work)
    {
        var threads = Enumerable.Range(0, Lanes).Select(lane => Task.Factory.StartNew(
            () => work(lane), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default));
        Task.WaitAll([.. threads]);
    }
}
