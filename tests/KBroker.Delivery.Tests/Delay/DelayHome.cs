using System.Buffers;
using System.Text;
using KBroker.Cluster.Metadata;
using KBroker.Cluster.Replication;
using KBroker.Delivery.CheckBack;
using KBroker.Delivery.Delay;
using KBroker.Protocol;
using KBroker.Protocol.Records;
using KBroker.Protocol.Records.Delivery;
using KBroker.Storage;
using KBroker.Storage.Files;
using KBroker.Storage.Tests;
using KBroker.Timing;
using Microsoft.Extensions.Logging.Abstractions;

namespace KBroker.Delivery.Tests.Delay;

/// <summary>One record of the log, as a follower sees it.</summary>
internal sealed record Logged(
    long Offset, long Timestamp, string? Value, RecordBatchHeader Batch, DeliveryRequest Request,
    IReadOnlyDictionary<string, string> Headers)
{
    public bool IsDelivery => (Batch.Attributes & RecordBatchAttributes.Copying) != 0 && !Batch.IsHiding;
}

/// <summary>
/// A partition with a delay schedule on a real log, whose clock and disk belong to the test. Everything runs on the
/// test's thread: when a call returns, the schedule has done all there was to do.
/// </summary>
internal sealed class DelayHome : IPartitionListener, ITargetTopics, IDisposable
{
    public const long StartMs = 1_700_000_000_000;
    private const int BrokerId = 1;
    private static readonly TopicPartition Name = new("later", 0);
    private static readonly Uuid TopicId = Uuid.Parse("AAECAwQFBgcICQoLDA0ODw");
    private readonly string _folder = Directory.CreateTempSubdirectory("kbroker-delay-").FullName;
    private LogManager _logs = null!;
    private SystemTimer _timer = null!;
    private DelayMetrics _metrics = null!;
    private readonly Dictionary<string, Partition> _others = [];
    private int _epoch;

    public DelayHome(
        LogConfig? config = null, int nearMax = 16_384, int farMax = 8_192, long checkpointWork = 50_000,
        int queryScanMax = 100_000, long gatherMs = 0)
    {
        GatherMs = gatherMs;
        Config = config ?? new LogConfig { DelayEnable = true };
        (NearMax, FarMax, CheckpointWork, QueryScanMax) = (nearMax, farMax, checkpointWork, queryScanMax);
        Files = new FaultInjectingFileSystem(new PhysicalFileSystem(), _folder);
        Open();
    }

    public static CompressionCodecs Codecs { get; } = new();

    public LogConfig Config { get; set; }

    public int NearMax { get; }

    public int FarMax { get; }

    public long CheckpointWork { get; }

    public long GatherMs { get; }

    public int QueryScanMax { get; }

    public FaultInjectingFileSystem Files { get; }

    /// <summary>Whether checks have somewhere to go.</summary>
    public bool CanCreateTopics { get; set; } = true;

    public ManualClock Clock { get; private set; } = new(StartMs);

    /// <summary>Called once when the schedule next looks at the clock: behind a look at the log, and before what it
    /// appends.</summary>
    public Action? WhenTimeIsAsked { get; set; }

    public Partition Partition { get; private set; } = null!;

    public DelaySchedule Schedule { get; private set; } = null!;

    public DelayMetrics Metrics => _metrics;

    public PartitionLog Log => Partition.Log;

    public string LogPath => Path.Combine(_folder, "data", Name.ToString());

    public static (string Key, string Value) After(long ms) => ("kbroker-delay-ms", $"{ms}");

    public static (string Key, string Value) Cancel(long offset) => ("kbroker-cancel", $"{offset}");

    /// <summary>Appends one batch; a record is a value and perhaps a header.</summary>
    public long Append(RecordBatchOptions options, params (string Value, (string Key, string Value)? Header)[] records)
    {
        using var builder = new RecordBatchBuilder(options, Codecs);
        foreach (var (value, header) in records)
        {
            builder.Append(
                Clock.WallMs,
                default(ReadOnlyMemory<byte>?),
                Encoding.UTF8.GetBytes(value),
                header is { } h
                    ? RecordHeaders.Create(new RecordHeader(h.Key, Encoding.UTF8.GetBytes(h.Value)))
                    : RecordHeaders.Empty);
        }

        var appended = Partition.AppendAsLeader(
            new ReadOnlySequence<byte>(builder.Build().ToArray()), -1, AppendOptions.Client);
        Assert.True(appended.Error == ErrorCode.None, appended.Message);
        return appended.Append.FirstOffset;
    }

    public long Append(string value, (string Key, string Value)? header = null) =>
        Append(RecordBatchOptions.Default, (value, header));

    /// <summary>Appends a record with several headers.</summary>
    public PartitionAppend TryAppend(
        string value, RecordBatchOptions? options, params (string Key, string Value)[] headers)
    {
        using var builder = new RecordBatchBuilder(options ?? RecordBatchOptions.Default, Codecs);
        builder.Append(
            Clock.WallMs,
            default(ReadOnlyMemory<byte>?),
            Encoding.UTF8.GetBytes(value),
            RecordHeaders.Create([.. headers.Select(
                static h => new RecordHeader(h.Key, Encoding.UTF8.GetBytes(h.Value)))]));
        return Partition.AppendAsLeader(
            new ReadOnlySequence<byte>(builder.Build().ToArray()), -1, AppendOptions.Client);
    }

    /// <summary>Everything in the other topics, in order.</summary>
    public List<Logged> Others(string topic)
    {
        var all = new List<Logged>();
        if (!_others.TryGetValue(topic, out var partition))
            return all;
        for (var next = 0L; next < partition.Log.LogEndOffset;)
        {
            using var records = partition.Log.Read(next, 1 << 20, long.MaxValue, true).Records;
            next = Decode(records.ToArray(), all);
        }

        return all;
    }

    /// <inheritdoc/>
    public Partition? Find(string topic, long key)
    {
        if (!CanCreateTopics)
            return null;
        if (!_others.TryGetValue(topic, out var partition))
            _others[topic] = partition = OpenPartition(new TopicPartition(topic, 0), new LogConfig());
        return partition;
    }

    /// <summary>Ends a transaction.</summary>
    public void Mark(long producerId, bool isCommit)
    {
        using var builder = new RecordBatchBuilder(new RecordBatchOptions
        {
            ProducerId = producerId,
            ProducerEpoch = 0,
            IsTransactional = true,
            IsControl = true,
        });
        builder.Append(
            Clock.WallMs,
            ControlRecord.Key(isCommit ? ControlRecordType.Commit : ControlRecordType.Abort),
            ControlRecord.EndTransactionValue(1));
        Assert.Equal(ErrorCode.None, Partition.AppendAsLeader(
            new ReadOnlySequence<byte>(builder.Build().ToArray()), -1, AppendOptions.Coordinator).Error);
    }

    /// <summary>Everything in the log from an offset on.</summary>
    public List<Logged> Read(long from = 0)
    {
        var all = new List<Logged>();
        for (var next = Math.Max(from, Log.LogStartOffset); next < Log.LogEndOffset;)
        {
            using var records = Log.Read(next, 1 << 20, long.MaxValue, true).Records;
            next = Decode(records.ToArray(), all);
        }

        return all;
    }

    /// <summary>What a consumer sees from an offset on.</summary>
    public List<Logged> Consume(long from = 0)
    {
        var all = new List<Logged>();
        for (var next = Math.Max(from, Log.LogStartOffset); next < Log.LogEndOffset;)
        {
            using var records = Log.Flagged.ReadVisible(next, next, 1 << 20, long.MaxValue, true).Read.Records;
            var before = next;
            next = Decode(records.ToArray(), all);
            Assert.True(next > before, $"a consumer stays at {before}");
        }

        all.RemoveAll(r => r.Batch.IsControl || r.Offset < from);
        return all;
    }

    public List<string?> Values() => [.. Consume().Select(static r => r.Value)];

    /// <summary>Puts the log on stable storage, and says so in the checkpoint.</summary>
    public void Flush()
    {
        Log.Flush();
        _logs.CheckpointRecoveryPoints();
    }

    public void Advance(long ms) => Clock.Advance(ms);

    /// <summary>What the schedule answers; null when it cannot tell.</summary>
    public PendingList? List(PendingQuery query)
    {
        var answer = Schedule.ListAsync(query, CancellationToken.None);
        Assert.True(answer.IsCompleted, "the schedule has not answered");
        return answer.Result;
    }

    /// <summary>Lets the partition have more replicas, of which only this one is in sync.</summary>
    public void SetReplicas(int count) => Partition.Update(new PartitionImage
    {
        PartitionId = 0,
        Replicas = [.. Enumerable.Range(BrokerId, count)],
        Isr = [BrokerId],
        Leader = BrokerId,
        LeaderEpoch = _epoch,
        PartitionEpoch = _epoch,
    });

    /// <summary>Stops and starts; a clean stop brings the schedule's files up to date.</summary>
    public void Restart()
    {
        Schedule.StopAsync().Wait();
        _timer.Dispose();
        _metrics.Dispose();
        _logs.Close(-1);
        Open();
    }

    /// <summary>Ends as by kill -9, or by a power cut, and starts again.</summary>
    public void Crash(Random? powerCut = null, Action? meanwhile = null)
    {
        Partition.Stop();
        Schedule.StopAsync().Wait();
        _timer.Dispose();
        _metrics.Dispose();
        _logs.Abandon();
        if (powerCut is not null)
            Files.CutPower(powerCut);
        meanwhile?.Invoke();
        Open();
    }

    public void Dispose()
    {
        Partition.Stop();
        _timer.Dispose();
        _metrics.Dispose();
        _logs.Abandon();
        Files.DeleteTrash();
        Directory.Delete(_folder, recursive: true);
    }

    void IPartitionListener.OnHighWatermarkAdvanced(Partition partition)
    {
    }

    void IPartitionListener.OnLeadershipLost(Partition partition)
    {
    }

    void IPartitionListener.OnLogStartOffsetAdvanced(Partition partition)
    {
    }

    private static long Decode(byte[] bytes, List<Logged> into)
    {
        var next = -1L;
        var rest = new ReadOnlySequence<byte>(bytes);
        while (RecordBatches.Inspect(rest, out var header) == RecordBatchStatus.Whole)
        {
            var batch = rest.Slice(0, header.SizeInBytes);
            Assert.True(RecordBatches.HasValidCrc(batch));
            using var reader = new RecordBatchReader(batch, Codecs, 1 << 24);
            while (reader.TryRead(out var record))
            {
                into.Add(new Logged(
                    record.Offset,
                    record.Timestamp,
                    record.Value is { } value ? Encoding.UTF8.GetString(value.Span) : null,
                    header,
                    DeliveryRequest.Parse(record.Headers),
                    HeadersOf(record.Headers)));
            }

            next = header.NextOffset;
            rest = rest.Slice(header.SizeInBytes);
        }

        return next;
    }

    private static Dictionary<string, string> HeadersOf(RecordHeaders headers)
    {
        var all = new Dictionary<string, string>();
        foreach (var header in headers)
            all[header.Key] = Encoding.UTF8.GetString(header.Value.GetValueOrDefault().Span);
        return all;
    }

    private Partition OpenPartition(TopicPartition name, LogConfig config)
    {
        var partition = new Partition(name, TopicId, _logs.GetOrCreate(name, TopicId, config), BrokerId, this);
        partition.Update(new PartitionImage
        {
            PartitionId = 0,
            Replicas = [BrokerId],
            Isr = [BrokerId],
            Leader = BrokerId,
            LeaderEpoch = _epoch,
            PartitionEpoch = _epoch,
        });
        return partition;
    }

    private void Open()
    {
        _logs = LogManager.Open(new LogManagerOptions
        {
            LogDirectories = [Path.Combine(_folder, "data")],
            NodeId = BrokerId,
            ClusterId = "4L6g3nShT-eMCtK--X86sw",
            Files = Files,
            Time = Clock,
            Logger = NullLogger.Instance,
            Codecs = Codecs,
            Random = new Random(1),
            RunInline = true,
        });
        _logs.LoadLogs((_, _) => Config, static _ => TopicId);
        _epoch++;
        var others = _others.Keys.ToList();
        _others.Clear();
        foreach (var topic in others)
            _others[topic] = OpenPartition(new TopicPartition(topic, 0), new LogConfig());
        Partition = OpenPartition(Name, Config);
        _timer = new SystemTimer(Clock, new InlineExecutor());
        _metrics = new DelayMetrics(() => [Schedule], () => Clock.WallMs, () => Clock.NowMs);
        Schedule = new DelaySchedule(Partition, new DelayParts
        {
            Files = Files,
            Timer = _timer,
            Time = new AskedClock(this),
            Codecs = Codecs,
            Logger = NullLogger.Instance,
            Metrics = _metrics,
            Targets = this,
            Executor = new InlineExecutor(),
            NearMax = NearMax,
            FarMax = FarMax,
            CheckpointWork = CheckpointWork,
            GatherMs = GatherMs,
            QueryScanMax = QueryScanMax,
            ReleaseTimeout = TimeSpan.Zero,
        });
        Schedule.Start();
    }

    private sealed class AskedClock(DelayHome home) : TimeProvider
    {
        public override long TimestampFrequency => home.Clock.TimestampFrequency;

        public override DateTimeOffset GetUtcNow()
        {
            var asked = home.WhenTimeIsAsked;
            home.WhenTimeIsAsked = null;
            asked?.Invoke();
            return home.Clock.GetUtcNow();
        }

        public override long GetTimestamp() => home.Clock.GetTimestamp();
    }
}
