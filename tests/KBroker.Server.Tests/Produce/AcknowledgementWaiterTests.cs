using System.Buffers;
using KBroker.Cluster.Metadata;
using KBroker.Cluster.Replication;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Produce;
using KBroker.Server.Tests.Brokers;
using KBroker.Server.Tests.Net;
using KBroker.Storage;
using KBroker.Timing;

namespace KBroker.Server.Tests.Produce;

/// <summary>
/// acks=all on a partition with a second replica in the ISR, which nobody serves: the high watermark stands still until
/// the metadata takes that replica out.
/// </summary>
public sealed class AcknowledgementWaiterTests : IDisposable
{
    private const int LongMs = 60_000;

    private readonly string _folder = Directory.CreateTempSubdirectory("kbroker-acks-").FullName;
    private readonly ManualTime _time = new();
    private readonly SystemTimer _timer;
    private readonly Purgatory<TopicPartition> _purgatory;
    private readonly LogManager _logs;
    private readonly Partition _partition;

    public AcknowledgementWaiterTests()
    {
        _timer = new SystemTimer(_time);
        _purgatory = new Purgatory<TopicPartition>("Produce", _timer);
        _logs = LogManager.Open(new LogManagerOptions { LogDirectories = [_folder], NodeId = 1 });
        var name = new TopicPartition("t", 0);
        var id = Uuid.Random();
        var log = _logs.GetOrCreate(name, id, new LogConfig());
        _partition = new Partition(name, id, log, 1, new Listener(_purgatory)) { MinInSyncReplicas = 1 };
        _partition.Update(Image(isr: [1, 2]));
    }

    [Fact]
    public async Task The_answer_comes_when_the_watermark_passes()
    {
        var (waiting, answer) = Append();
        Assert.False(waiting.IsCompleted);
        Assert.Equal((0, 1), (_partition.HighWatermark, _partition.Log.LogEndOffset));
        _partition.Update(Image(isr: [1]));
        await waiting.WaitAsync(ProtocolClient.Deadline, TestContext.Current.CancellationToken);
        Assert.Equal((ErrorCode.None, 0L), (answer.ErrorCode, answer.BaseOffset));
        Assert.Equal(1, _partition.Log.RecoveryPoint);
    }

    [Fact]
    public async Task The_client_is_told_when_its_time_is_up()
    {
        var (waiting, answer) = Append(timeoutMs: 100);
        await TestNetwork.Eventually(() => _purgatory.Delayed == 1, "the append waits");
        _time.Advance(TimeSpan.FromMilliseconds(101));
        await waiting.WaitAsync(ProtocolClient.Deadline, TestContext.Current.CancellationToken);
        Assert.Equal(ErrorCode.RequestTimedOut, answer.ErrorCode);
        Assert.Equal(0, _partition.HighWatermark);
    }

    [Fact]
    public async Task The_client_is_told_when_the_leader_changes()
    {
        var (waiting, answer) = Append();
        _partition.Update(Image(isr: [2]) with { Leader = 2, LeaderEpoch = 1 });
        await waiting.WaitAsync(ProtocolClient.Deadline, TestContext.Current.CancellationToken);
        Assert.Equal(ErrorCode.NotLeaderOrFollower, answer.ErrorCode);
    }

    [Fact]
    public async Task The_client_is_told_when_too_few_replicas_are_left()
    {
        _partition.MinInSyncReplicas = 2;
        var (waiting, answer) = Append();
        _partition.Update(Image(isr: [1]));
        await waiting.WaitAsync(ProtocolClient.Deadline, TestContext.Current.CancellationToken);
        Assert.Equal(ErrorCode.NotEnoughReplicasAfterAppend, answer.ErrorCode);
    }

    [Fact]
    public void Too_few_replicas_refuse_the_append()
    {
        _partition.MinInSyncReplicas = 2;
        _partition.Update(Image(isr: [1]));
        var records = new ReadOnlySequence<byte>(Batches.Of("v"));
        Assert.Equal(ErrorCode.NotEnoughReplicas, _partition.AppendAsLeader(records, -1, AppendOptions.Client).Error);
        Assert.Equal(ErrorCode.None, _partition.AppendAsLeader(records, 1, AppendOptions.Client).Error);
    }

    [Fact]
    public void Readers_see_no_more_than_the_watermark_and_followers_everything()
    {
        Append();
        var read = _partition.Read(0, 100, ReadLimit.HighWatermark, -1, -1, true);
        Assert.Equal((ErrorCode.None, 0L, true), (read.Error, read.HighWatermark, read.Records.IsEmpty));
        Assert.Equal(0, _partition.FindOffset(SpecialTimestamps.Latest, ReadLimit.HighWatermark, -1).Offset);
        Assert.Equal(-1, _partition.FindOffset(1000, ReadLimit.HighWatermark, -1).Offset);
        Assert.Equal(ErrorCode.OffsetOutOfRange, _partition.DeleteRecords(1, out _));
        using var records = _partition.Read(0, 100, ReadLimit.LogEnd, -1, -1, true).Records;
        Assert.Equal(["v"], Batches.Values(records));
        Assert.Equal(1, _partition.FindOffset(SpecialTimestamps.Latest, ReadLimit.LogEnd, -1).Offset);
    }

    public void Dispose()
    {
        _purgatory.Dispose();
        _timer.Dispose();
        _logs.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private static PartitionImage Image(int[] isr) => new()
    {
        PartitionId = 0,
        Replicas = [1, 2],
        Isr = [.. isr],
        Leader = 1,
        LeaderEpoch = 0,
        PartitionEpoch = 0,
    };

    private (Task Waiting, ProduceResponse.PartitionProduceResponse Answer) Append(int timeoutMs = LongMs)
    {
        var appended = _partition.AppendAsLeader(
            new ReadOnlySequence<byte>(Batches.Of("v")), -1, AppendOptions.Client);
        Assert.Equal(ErrorCode.None, appended.Error);
        var answer = new ProduceResponse.PartitionProduceResponse { BaseOffset = appended.Append.FirstOffset };
        var waiter = new AcknowledgementWaiter(_purgatory);
        var pending = new List<PendingAppend> { new(_partition, appended.Append.NextOffset, answer) };
        return (waiter.WaitAsync(new ProduceResponse(), pending, timeoutMs).AsTask(), answer);
    }

    private sealed class Listener(Purgatory<TopicPartition> purgatory) : IPartitionListener
    {
        public void OnHighWatermarkAdvanced(Partition partition) =>
            purgatory.CheckAndComplete(partition.TopicPartition);

        public void OnLeadershipLost(Partition partition) => purgatory.CheckAndComplete(partition.TopicPartition);

        public void OnLogStartOffsetAdvanced(Partition partition)
        {
        }
    }
}
