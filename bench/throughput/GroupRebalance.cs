using System.Diagnostics;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Throughput;

/// <summary>
/// One group whose members beat all the time, each on a thread and a connection of its own. The last one leaves and
/// joins again: how long until all have their share of the new assignment?
/// </summary>
internal sealed class GroupRebalance : IDisposable
{
    private const int PartitionsEach = 2;
    private const string Group = "rebalance";
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(5);
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(3);
    private readonly bool _classic;
    private readonly string _topic;
    private readonly Uuid _topicId;
    private readonly List<GroupMember> _members = [];
    private readonly List<Thread> _threads = [];
    private readonly BrokerProcess _broker;
    private readonly int _count;
    private volatile bool _stop;
    private Exception? _failure;

    internal GroupRebalance(BrokerProcess broker, int members, bool classic)
    {
        (_broker, _count, _classic) = (broker, members, classic);
        _topic = classic ? "rebalance-classic" : "rebalance-consumer";
        using var connection = broker.Connect();
        _topicId = GroupWire.CreateTopic(connection, _topic, members * PartitionsEach);
        GroupWire.WaitForCoordinator(connection, [GroupName]);
        for (int i = 0; i < members - 1; i++) Add();
        WaitUntilShared(members - 1);
    }

    private string GroupName => $"{Group}-{_topic}";

    /// <summary>The last member joins, and leaves again.</summary>
    /// <returns>Milliseconds from its first request until all members have their share.</returns>
    internal double JoinOnce()
    {
        var clock = Stopwatch.StartNew();
        var last = Add();
        WaitUntilShared(_count);
        double time = clock.Elapsed.TotalMilliseconds;
        lock (last) Leave(last);
        WaitUntilShared(_count - 1);
        return time;
    }

    public void Dispose()
    {
        _stop = true;
        foreach (var thread in _threads) thread.Join();
        foreach (var member in _members) member.Connection.Dispose();
    }

    private GroupMember Add()
    {
        var member = new GroupMember(GroupName, _broker.Connect());
        if (!_classic) (member.Id, member.Generation) = ($"{Guid.NewGuid():N}", 0);
        _members.Add(member);
        var thread = new Thread(() => Live(member), 256 * 1024) { IsBackground = true };
        _threads.Add(thread);
        thread.Start();
        return member;
    }

    private void Live(GroupMember member)
    {
        try
        {
            while (!_stop)
            {
                lock (member)
                {
                    if (!_members.Contains(member)) return;
                    if (_classic) BeatClassic(member);
                    else BeatConsumer(member);
                }

                Thread.Sleep(Pause);
            }
        }
        catch (Exception problem) when (problem is IOException or InvalidOperationException)
        {
            _failure ??= problem;
        }
    }

    private void BeatConsumer(GroupMember member) => GroupWire.Take(
        member,
        member.Connection.Call<ConsumerGroupHeartbeatResponse>(
            GroupWire.ConsumerHeartbeat(member, _topic, _topicId), GroupWire.ConsumerHeartbeatVersion));

    private void BeatClassic(GroupMember member)
    {
        if (member.Generation >= 0)
        {
            var error = member.Connection.Call<HeartbeatResponse>(
                GroupWire.Heartbeat(member), GroupWire.HeartbeatVersion).ErrorCode;
            if (error == ErrorCode.None) return;
            if (error != ErrorCode.RebalanceInProgress) GroupWire.Check(error, "Heartbeat");
        }

        member.Owned = [];
        var joined = member.Connection.Call<JoinGroupResponse>(GroupWire.Join(member, _topic), GroupWire.JoinVersion);
        if (joined.ErrorCode == ErrorCode.MemberIdRequired)
        {
            member.Id = joined.MemberId;
            joined = member.Connection.Call<JoinGroupResponse>(GroupWire.Join(member, _topic), GroupWire.JoinVersion);
        }

        GroupWire.Check(joined.ErrorCode, "JoinGroup");
        member.Generation = joined.GenerationId;
        var synced = member.Connection.Call<SyncGroupResponse>(
            GroupWire.Sync(member, joined, _topic, _count * PartitionsEach), GroupWire.SyncVersion);
        if (synced.ErrorCode == ErrorCode.None) member.Owned = GroupWire.PartitionsOf(synced.Assignment);
        else if (synced.ErrorCode != ErrorCode.RebalanceInProgress) GroupWire.Check(synced.ErrorCode, "SyncGroup");
    }

    private void Leave(GroupMember member)
    {
        if (_classic)
        {
            var left = member.Connection.Call<LeaveGroupResponse>(GroupWire.Leave(member), GroupWire.LeaveVersion);
            GroupWire.Check(left.ErrorCode, "LeaveGroup");
        }
        else
        {
            const int Leaves = -1;
            var request = new ConsumerGroupHeartbeatRequest
            {
                GroupId = GroupName,
                MemberId = member.Id,
                MemberEpoch = Leaves,
            };
            var left = member.Connection.Call<ConsumerGroupHeartbeatResponse>(
                request, GroupWire.ConsumerHeartbeatVersion);
            GroupWire.Check(left.ErrorCode, "ConsumerGroupHeartbeat");
        }

        _members.Remove(member);
        member.Connection.Dispose();
    }

    /// <summary>
    /// All in the same generation, everything assigned once, each with a share that differs by one at most.
    /// </summary>
    private void WaitUntilShared(int members)
    {
        int partitions = _count * PartitionsEach;
        for (var clock = Stopwatch.StartNew(); ;)
        {
            if (_failure is { } failure) throw new InvalidOperationException("a member failed", failure);
            GroupMember[] now = [.. _members];
            var owned = now.Select(static m => m.Owned).ToList();
            if (now.Length == members && now.All(m => m.Generation == now[0].Generation && !m.IsNews)
                && owned.Sum(static o => o.Count) == partitions
                && owned.TrueForAll(o => o.Count >= partitions / members && o.Count <= (partitions / members) + 1)
                && owned.SelectMany(static o => o).Distinct().Count() == partitions)
            {
                return;
            }

            if (clock.Elapsed > Limit) throw new TimeoutException($"{members} members do not share within {Limit}");
            Thread.Sleep(1);
        }
    }
}
