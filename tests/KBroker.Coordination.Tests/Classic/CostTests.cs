using KBroker.Cluster.Metadata;
using KBroker.Coordination.Groups.Classic;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Tests.Classic;

public sealed class CostTests
{
    [Fact]
    public void A_heartbeat_allocates_nothing_and_sets_no_timer()
    {
        var group = new ClassicHarness();
        var member = group.Stabilize([null])[0];
        var request = new HeartbeatRequest
        {
            GroupId = ClassicHarness.GroupId,
            MemberId = member.MemberId,
            GenerationId = member.GenerationId,
        };
        var turn = new NoTurn();
        ClassicGroups groups = group.Driver.Shard.Classic;
        Beat(100);
        var before = GC.GetAllocatedBytesForCurrentThread();
        Beat(1_000);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void Beat(int count)
        {
            for (var i = 0; i < count; i++)
            {
                turn.NowMs = group.Driver.NowMs + i;
                if (groups.Heartbeat(turn, request) != ErrorCode.None)
                    throw new InvalidOperationException("refused");
            }
        }
    }

    /// <summary>A turn on which a heartbeat has nothing to do.</summary>
    private sealed class NoTurn : ICoordinatorTurn
    {
        public long NowMs { get; set; }

        public MetadataImage Metadata => throw new InvalidOperationException();

        public void Append(in CoordinatorRecord record) => throw new InvalidOperationException();

        public void AppendOnly(in CoordinatorRecord record) => throw new InvalidOperationException();

        public void Send<T>(Reply<T> reply, T response) => throw new InvalidOperationException();

        public void Schedule(string key, long delayMs, Action<ICoordinatorTurn> step) =>
            throw new InvalidOperationException();

        public void Cancel(string key) => throw new InvalidOperationException();

        public void RunAside<T>(string key, Func<T> work, Action<ICoordinatorTurn, T?, Exception?> step) =>
            throw new InvalidOperationException();
    }
}
