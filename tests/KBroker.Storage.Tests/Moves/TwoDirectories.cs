using System.Buffers;
using KBroker.Protocol;
using KBroker.Storage.Files;
using KBroker.Storage.Moves;

namespace KBroker.Storage.Tests.Moves;

/// <summary>
/// A log manager over two directories, one log in the first of them, and what the metadata would know: in which
/// directory it is. It can be closed, crash, and be opened again.
/// </summary>
internal sealed class TwoDirectories : IDisposable
{
    public static readonly TopicPartition Partition = new("orders", 0);

    private readonly string _root = Directory.CreateTempSubdirectory("kbroker-moves-").FullName;

    public TwoDirectories(IFileSystem? files = null, LogConfig? config = null, bool inline = true)
    {
        Files = files ?? new PhysicalFileSystem();
        Config = config ?? new LogConfig { SegmentBytes = 2_000, IndexIntervalBytes = 200, FileDeleteDelayMs = 1_000 };
        Inline = inline;
        Open();
        Assigned = Manager.Directories[0].DirectoryId;
        Log = Manager.GetOrCreate(Partition, TestStorage.TopicId, Config, Assigned);
    }

    public IFileSystem Files { get; }

    public LogConfig Config { get; set; }

    public bool Inline { get; }

    public ManualClock Clock { get; } = new(1_700_000_000_000);

    /// <summary>What the metadata says.</summary>
    public Uuid Assigned { get; set; }

    public LogManager Manager { get; private set; } = null!;

    public PartitionLog Log { get; set; } = null!;

    public LogDirectory A => Manager.Directories[0];

    public LogDirectory B => Manager.Directories[1];

    public string PathOf(string name) => Path.Combine(_root, name);

    public void Open()
    {
        Manager = LogManager.Open(new LogManagerOptions
        {
            LogDirectories = [PathOf("a"), PathOf("b")],
            NodeId = 1,
            ClusterId = "4L6g3nShT-eMCtK--X86sw",
            Files = Files,
            Time = Clock,
            Codecs = TestStorage.Codecs,
            Random = new Random(1),
            RunInline = Inline,
        });
        Manager.LoadLogs((_, _) => Config, directoryOf: _ => Assigned);
    }

    /// <summary>Opens again; the log must be there.</summary>
    public void Reopen()
    {
        Open();
        Assert.True(Manager.TryGet(Partition, out var log), "the log is there after the start");
        Log = log;
    }

    public AppendResult Append(int records, int leaderEpoch = 0) => Append(TestStorage.Batch(records), leaderEpoch);

    public AppendResult Append(byte[] batch, int leaderEpoch = 0)
    {
        var result = Log.AppendAsLeader(new ReadOnlySequence<byte>(batch), leaderEpoch, AppendOptions.Client);
        Assert.True(result.IsSuccess, result.ErrorMessage);
        return result;
    }

    public LogMove Begin(LogDirectory target) =>
        Manager.Moves.Begin(Partition, target) ?? throw new InvalidOperationException("there is nothing to move");

    /// <summary>Copies all but what is appended meanwhile.</summary>
    public static void CatchUp(LogMove move)
    {
        while (move.CopySome(500) > 0)
        {
            // The next step.
        }
    }

    /// <summary>The end of a move, as the broker does it.</summary>
    public bool Finish(LogMove move)
    {
        move.Seal();
        try
        {
            move.Complete();
            Assigned = move.Target.DirectoryId;
            if (!Manager.Moves.Switch(move))
                return false;
            Log = move.Future;
        }
        finally
        {
            move.Unseal();
        }

        Manager.Moves.Retire(move.Source);
        return true;
    }

    public void Move(LogDirectory target)
    {
        var move = Begin(target);
        CatchUp(move);
        Assert.True(Finish(move));
    }

    /// <summary>All offsets and timestamps of the log.</summary>
    public List<(long Offset, long Timestamp)> Records()
    {
        var all = new List<(long, long)>();
        var next = Log.LogStartOffset;
        while (next < Log.LogEndOffset)
        {
            using var records = Log.Read(next, 700, long.MaxValue, minOneMessage: true).Records;
            var read = TestStorage.RecordsOf(records.ToArray());
            all.AddRange(read.Where(r => r.Offset >= next));
            next = read[^1].Offset + 1;
        }

        return all;
    }

    /// <summary>The directories that bear the partition's name, in all log directories.</summary>
    public List<string> Currents() => Directories(static name => name == Partition.ToString());

    public List<string> Futures() => Directories(
        static name => name.EndsWith("-future", StringComparison.Ordinal));

    public List<string> Strays() => Directories(static name => name.EndsWith("-stray", StringComparison.Ordinal));

    public void Dispose()
    {
        Manager.Abandon();
        Directory.Delete(_root, recursive: true);
    }

    private List<string> Directories(Func<string, bool> wanted) =>
    [
        .. new[] { "a", "b" }.Where(d => Directory.Exists(PathOf(d)))
            .SelectMany(d => Directory.GetDirectories(PathOf(d))).Where(d => wanted(Path.GetFileName(d))),
    ];
}
