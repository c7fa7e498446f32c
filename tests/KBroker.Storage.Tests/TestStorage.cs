using System.Buffers;
using System.Diagnostics.Metrics;
using KBroker.Protocol;
using KBroker.Protocol.Records;
using KBroker.Storage.Files;
using Microsoft.Extensions.Logging.Abstractions;

namespace KBroker.Storage.Tests;

/// <summary>A log manager over one temporary directory, which a test can close, crash and open again.</summary>
internal sealed class TestStorage : IDisposable
{
    public static readonly TopicPartition Partition = new("orders", 0);
    public static readonly Uuid TopicId = Uuid.Parse("AAECAwQFBgcICQoLDA0ODw");

    private readonly bool _ownsRoot;

    public TestStorage(
        LogConfig? config = null,
        IFileSystem? files = null,
        bool inline = true,
        string? root = null,
        IMeterFactory? meters = null)
    {
        Meters = meters;
        _ownsRoot = root is null;
        Root = root ?? System.IO.Path.Combine(System.IO.Path.GetTempPath(), "kbroker-storage-"
            + Guid.NewGuid().ToString("N"));
        Config = config ?? new LogConfig();
        Files = files ?? new PhysicalFileSystem();
        Inline = inline;
        Manager = OpenManager();
        Load();
        Log = Manager.GetOrCreate(Partition, TopicId, Config);
    }

    public static CompressionCodecs Codecs { get; } = new();

    public ManualClock Clock { get; } = new(1_700_000_000_000);

    public string Root { get; }

    public LogConfig Config { get; set; }

    public IFileSystem Files { get; }

    public bool Inline { get; }

    public IMeterFactory? Meters { get; }

    public LogManager Manager { get; private set; }

    public PartitionLog Log { get; private set; }

    public string LogPath => System.IO.Path.Combine(Root, Partition.ToString());

    public static byte[] Batch(
        int count,
        long timestamp = 1_700_000_000_000,
        CompressionType compression = CompressionType.None,
        RecordBatchOptions? options = null,
        int valueBytes = 20,
        Func<int, byte[]?>? key = null,
        long timestampStep = 1)
    {
        using var builder = new RecordBatchBuilder(
            (options ?? RecordBatchOptions.Default) with { Compression = compression }, Codecs);
        for (var i = 0; i < count; i++)
        {
            var value = new byte[valueBytes];
            new Random(i).NextBytes(value);
            byte[]? keyBytes = key is null ? [(byte)i] : key(i);
            builder.Append(
                timestamp + (i * timestampStep),
                keyBytes is null ? null : (ReadOnlyMemory<byte>?)keyBytes,
                (ReadOnlyMemory<byte>?)value);
        }

        return builder.Build().ToArray();
    }

    public static byte[] ProducerBatch(long id, short epoch, int sequence, int count, bool transactional = false) =>
        Batch(count, options: new RecordBatchOptions
        {
            ProducerId = id,
            ProducerEpoch = epoch,
            BaseSequence = sequence,
            IsTransactional = transactional,
        });

    /// <summary>The bytes cut into pieces, as a pipe would give them.</summary>
    public static ReadOnlySequence<byte> Pieces(byte[] bytes, int pieceBytes)
    {
        var first = new Piece(bytes.AsMemory(0, Math.Min(pieceBytes, bytes.Length)), 0);
        var last = first;
        for (var at = first.Memory.Length; at < bytes.Length; at += pieceBytes)
            last = last.Append(bytes.AsMemory(at, Math.Min(pieceBytes, bytes.Length - at)));
        return new ReadOnlySequence<byte>(first, 0, last, last.Memory.Length);
    }

    public static List<(long Offset, long Timestamp)> RecordsOf(byte[] bytes)
    {
        var result = new List<(long, long)>();
        var rest = new ReadOnlySequence<byte>(bytes);
        while (RecordBatches.Inspect(rest, out var header) == RecordBatchStatus.Whole)
        {
            Assert.True(RecordBatches.HasValidCrc(rest.Slice(0, header.SizeInBytes)));
            using var reader = new RecordBatchReader(rest.Slice(0, header.SizeInBytes), Codecs, int.MaxValue);
            while (reader.TryRead(out var record))
                result.Add((record.Offset, record.Timestamp));
            rest = rest.Slice(header.SizeInBytes);
        }

        return result;
    }

    /// <summary>A marker that ends a transaction.</summary>
    public static byte[] Marker(
        long producerId, ControlRecordType type, int coordinatorEpoch = 3, short epoch = 0)
    {
        using var builder = new RecordBatchBuilder(new RecordBatchOptions
        {
            ProducerId = producerId,
            ProducerEpoch = epoch,
            IsTransactional = true,
            IsControl = true,
        });
        builder.Append(
            1_700_000_000_000, ControlRecord.Key(type), ControlRecord.EndTransactionValue(coordinatorEpoch));
        return builder.Build().ToArray();
    }

    public AppendResult Append(byte[] batch, int leaderEpoch = 0) =>
        Log.AppendAsLeader(new ReadOnlySequence<byte>(batch), leaderEpoch, AppendOptions.Client);

    public AppendResult AppendOk(byte[] batch, int leaderEpoch = 0)
    {
        var result = Append(batch, leaderEpoch);
        Assert.True(result.IsSuccess, result.ErrorMessage);
        return result;
    }

    /// <summary>All offsets from one on, read in pieces as a consumer would.</summary>
    public List<long> ReadOffsets(long from, int maxBytes = 1 << 20) =>
        [.. ReadRecords(from, maxBytes).Select(static r => r.Offset)];

    public List<(long Offset, long Timestamp)> ReadRecords(long from, int maxBytes = 1 << 20)
    {
        var all = new List<(long Offset, long Timestamp)>();
        var next = from;
        while (next < Log.LogEndOffset)
        {
            var result = Log.Read(next, maxBytes, long.MaxValue, minOneMessage: true);
            using var records = result.Records;
            Assert.False(records.IsEmpty);
            var read = RecordsOf(records.ToArray());
            Assert.NotEmpty(read);
            all.AddRange(read.Where(r => r.Offset >= next));
            next = read[^1].Offset + 1;
        }

        return all;
    }

    public void CloseCleanly() => Manager.Close(-1);

    public void Crash() => Manager.Abandon();

    public void Reopen()
    {
        Manager = OpenManager();
        Load();
        Log = Manager.GetOrCreate(Partition, TopicId, Config);
    }

    public void CrashAndReopen()
    {
        Crash();
        Reopen();
    }

    public void Dispose()
    {
        Manager.Abandon();
        (Files as FaultInjectingFileSystem)?.DeleteTrash();
        if (_ownsRoot && Directory.Exists(Root))
            Directory.Delete(Root, recursive: true);
    }

    private void Load() => Manager.LoadLogs(
        (_, id) => id == TopicId || id.IsZero ? Config : null, static _ => TopicId);

    private LogManager OpenManager()
    {
        var manager = LogManager.Open(new LogManagerOptions
        {
            LogDirectories = [Root],
            NodeId = 1,
            ClusterId = "4L6g3nShT-eMCtK--X86sw",
            Files = Files,
            Time = Clock,
            Logger = NullLogger.Instance,
            Codecs = Codecs,
            Random = new Random(1),
            RunInline = Inline,
            MeterFactory = Meters,
        });
        return manager;
    }

    private sealed class Piece : ReadOnlySequenceSegment<byte>
    {
        public Piece(ReadOnlyMemory<byte> memory, long runningIndex)
        {
            Memory = memory;
            RunningIndex = runningIndex;
        }

        public new ReadOnlyMemory<byte> Memory
        {
            get => base.Memory;
            private init => base.Memory = value;
        }

        public Piece Append(ReadOnlyMemory<byte> memory)
        {
            var next = new Piece(memory, RunningIndex + Memory.Length);
            Next = next;
            return next;
        }
    }
}
