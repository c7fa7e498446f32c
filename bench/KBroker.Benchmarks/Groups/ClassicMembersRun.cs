using System.Diagnostics;
using KBroker.Cluster.Configuration;
using KBroker.Cluster.Metadata;
using KBroker.Coordination.Groups;
using KBroker.Coordination.Groups.Classic;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Timing;
using Microsoft.Extensions.Logging.Abstractions;

namespace KBroker.Benchmarks.Groups;

/// <summary>
/// Stable classic groups on one shard with real timers, without a log: bytes that a member takes, and what a heartbeat
/// costs inside the state machine (sockets, decoding and the mailbox are not in it).
/// </summary>
internal static class ClassicMembersRun
{
    public const string Mode = "classic-members";
    private const int Groups = 1_000;
    private const int MembersOfGroup = 10;
    private const int Rounds = 100;

    public static void Run()
    {
        using var timer = new SystemTimer(TimeProvider.System);
        var options = new GroupShardOptions
        {
            Configs = new ConfigView(
                new BrokerConfigValues(ConfigCatalog.Default, new Dictionary<string, string>()), 1),
            NewUuid = static () => Guid.NewGuid().ToString(),
            Logger = NullLogger.Instance,
        };
        Fill(new GroupShard(options), timer, 10);
        var shard = new GroupShard(options);
        var before = GC.GetTotalMemory(forceFullCollection: true);
        var (turn, heartbeats) = Fill(shard, timer, Groups);
        var after = GC.GetTotalMemory(forceFullCollection: true);
        // The requests are the clients', not the broker's.
        heartbeats.Clear();
        heartbeats.TrimExcess();
        var members = Groups * MembersOfGroup;
        var withoutRequests = GC.GetTotalMemory(forceFullCollection: true);
        Console.WriteLine(
            $"{members} members of {Groups} groups: {(withoutRequests - before) / members} bytes a member, with its "
            + $"group's part and its timer; {(after - withoutRequests) / members} bytes of requests left out");

        heartbeats = HeartbeatsOf(shard);
        foreach (var heartbeat in heartbeats)
            shard.Classic.Heartbeat(turn, heartbeat);
        var allocated = GC.GetAllocatedBytesForCurrentThread();
        var cpu = Process.GetCurrentProcess().TotalProcessorTime;
        for (var round = 0; round < Rounds; round++)
        {
            foreach (var heartbeat in heartbeats)
            {
                if (shard.Classic.Heartbeat(turn, heartbeat) != ErrorCode.None)
                    throw new InvalidOperationException("A heartbeat was refused.");
            }
        }

        var count = (double)heartbeats.Count * Rounds;
        cpu = Process.GetCurrentProcess().TotalProcessorTime - cpu;
        allocated = GC.GetAllocatedBytesForCurrentThread() - allocated;
        Console.WriteLine($"{count:F0} heartbeats: {cpu.TotalNanoseconds / count:F0} ns of CPU each, "
            + $"{allocated / count:F1} bytes allocated each");
        GC.KeepAlive(shard);
    }

    private static (BenchmarkTurn Turn, List<HeartbeatRequest> Heartbeats) Fill(
        GroupShard shard, SystemTimer timer, int groups)
    {
        var turn = new BenchmarkTurn(shard, new ShardTimers(timer, static _ => { }));
        for (var number = 0; number < groups; number++)
        {
            // As a log has it: each member with a subscription and an assignment of 100 bytes.
            var value = new GroupMetadataValue { ProtocolType = "consumer", Generation = 1, Protocol = "range" };
            for (var member = 0; member < MembersOfGroup; member++)
            {
                value.Members.Add(new GroupMetadataValue.MemberMetadata
                {
                    MemberId = $"consumer-application-1-{Guid.NewGuid()}",
                    ClientId = "consumer-application-1",
                    ClientHost = "/127.0.0.1",
                    SessionTimeout = 45_000,
                    RebalanceTimeout = 300_000,
                    Subscription = new byte[100],
                    Assignment = new byte[100],
                });
            }

            value.Leader = value.Members[0].MemberId;
            shard.Classic.Replay(ClassicGroupRecords.KeyOf($"group-{number}"), value);
        }

        shard.OnLoaded(turn);
        return (turn, HeartbeatsOf(shard));
    }

    private static List<HeartbeatRequest> HeartbeatsOf(GroupShard shard) =>
    [
        .. shard.Groups.All.Cast<ClassicGroup>().SelectMany(static group => group.Members.Select(member =>
            new HeartbeatRequest
            {
                GroupId = group.GroupId,
                MemberId = member.MemberId,
                GenerationId = group.GenerationId,
            })),
    ];

    private sealed class BenchmarkTurn(GroupShard shard, ShardTimers timers) : ICoordinatorTurn
    {
        public long NowMs => 1_000_000;

        public MetadataImage Metadata => MetadataImage.Empty;

        public void Append(in CoordinatorRecord record) =>
            shard.Replay(new ReplayContext(0), record.Key, record.Value);

        public void AppendOnly(in CoordinatorRecord record)
        {
        }

        public void Send<T>(Reply<T> reply, T response) => reply.Release(response);

        public void Schedule(string key, long delayMs, Action<ICoordinatorTurn> step) =>
            timers.Schedule(key, delayMs, step);

        public void Cancel(string key) => timers.Cancel(key);

        public void RunAside<T>(string key, Func<T> work, Action<ICoordinatorTurn, T?, Exception?> step) =>
            timers.RunAside(key, work, step);
    }
}
