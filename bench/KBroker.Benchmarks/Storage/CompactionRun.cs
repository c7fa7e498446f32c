using System.Diagnostics;
using System.Globalization;
using KBroker.Protocol;
using KBroker.Protocol.Records;
using KBroker.Storage;

namespace KBroker.Benchmarks.Storage;

/// <summary>
/// Compaction of one log beside a plain copy (read, write, fdatasync) of the same segment files, in turns. Both run
/// from the page cache, on one thread.
/// </summary>
internal static class CompactionRun
{
    public const string Mode = "compaction";
    private const int CopyBufferBytes = 256 * 1024;
    private const int BatchBytes = 16 * 1024;

    public static void Run(string[] args)
    {
        var megabytes = Option(args, "--megabytes", 300);
        var rounds = Option(args, "--rounds", 3);
        var mapBytes = Option(args, "--map-bytes", 128 * 1024 * 1024);
        var format = "{0,-34} {1,9} {2,9} {3,7} {4,9} {5,9} {6,7} {7,8}";
        Console.WriteLine(string.Format(CultureInfo.InvariantCulture, format,
            "log", "compact", "copy", "ratio", "CPU s/GB", "left", "map", "passes"));
        Console.WriteLine(string.Format(CultureInfo.InvariantCulture, format,
            "", "MB/s", "MB/s", "", "", "% bytes", "% full", ""));
        // So that no figure holds the compiler's work.
        foreach (var shape in Shapes())
            Measure(shape, 20, mapBytes);
        var only = Array.IndexOf(args, "--only");
        foreach (var shape in Shapes()
            .Where(s => only < 0 || s.Name.Contains(args[only + 1], StringComparison.Ordinal)))
        {
            var results = Enumerable.Range(0, rounds).Select(_ => Measure(shape, megabytes, mapBytes))
                .OrderBy(static r => r.Ratio).ToList();
            var middle = results[results.Count / 2];
            Console.WriteLine(string.Format(CultureInfo.InvariantCulture, format,
                shape.Name, $"{middle.CompactMbPerSecond:F0}", $"{middle.CopyMbPerSecond:F0}", $"{middle.Ratio:F2}",
                $"{middle.CpuSecondsPerGb:F2}", $"{middle.LeftPercent:F0}", $"{middle.MapPercent:F0}",
                $"{middle.Passes}"));
        }
    }

    private static IEnumerable<Shape> Shapes() =>
    [
        new("1 KB, every key once", 1000, 1, CompressionType.None),
        new("1 KB, 10 versions of a key", 1000, 10, CompressionType.None),
        new("100 B, every key once", 100, 1, CompressionType.None),
        new("100 B, 2 versions of a key", 100, 2, CompressionType.None),
        new("100 B, 10 versions of a key", 100, 10, CompressionType.None),
        new("1 KB, 2 versions, lz4", 1000, 2, CompressionType.Lz4),
        new("1 KB, 2 versions, zstd", 1000, 2, CompressionType.Zstd),
    ];

    private static Result Measure(Shape shape, int megabytes, int mapBytes)
    {
        var root = Directory.CreateTempSubdirectory("kbroker-bench-").FullName;
        try
        {
            using var manager = Open(root, mapBytes);
            var log = manager.Logs.Single();
            Fill(log, shape, megabytes * 1_000_000L);
            log.RollSegment();
            log.Flush();
            var files = Directory.GetFiles(Path.Combine(root, "data", "bench-0"), "*.log");
            var bytes = files.Sum(static f => new FileInfo(f).Length);
            var copied = Time(() => Copy(files, Path.Combine(root, "copy")));
            var passes = 0;
            var compacted = Time(() =>
            {
                while (manager.Cleaner.CleanNext(CancellationToken.None))
                    passes++;
            });
            var map = manager.Cleaner.LastStats!.MapUtilization;
            return new Result(
                bytes / 1e6 / compacted.Wall, bytes / 1e6 / copied.Wall, compacted.Cpu / (bytes / 1e9),
                100.0 * log.SizeInBytes / bytes, 100 * map, passes);
        }
        finally
        {
            Directory.Delete(root, recursive: true);
        }
    }

    private static LogManager Open(string root, int mapBytes)
    {
        var manager = LogManager.Open(new LogManagerOptions
        {
            LogDirectories = [Path.Combine(root, "data")],
            NodeId = 1,
            RunInline = true,
            Cleaner = new CleanerSettings { DedupeBufferBytes = mapBytes },
        });
        var config = new LogConfig
        {
            CleanupPolicy = CleanupPolicy.Compact,
            MinCleanableDirtyRatio = 0,
            SegmentBytes = 128 * 1024 * 1024,
        };
        manager.LoadLogs((_, _) => config);
        manager.GetOrCreate(new TopicPartition("bench", 0), Uuid.Random(), config);
        return manager;
    }

    /// <summary>Records whose keys come again after all others have come.</summary>
    private static void Fill(PartitionLog log, Shape shape, long bytes)
    {
        var random = new Random(1);
        var value = new byte[shape.ValueBytes];
        var batch = new byte[8];
        using var codecs = new CompressionCodecs();
        var options = new RecordBatchOptions { Compression = shape.Compression };
        using var builder = new RecordBatchBuilder(options, codecs);
        var keys = Math.Max(1, bytes / (shape.ValueBytes + 30) / shape.Versions);
        var now = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
        long number = 0;
        while (log.SizeInBytes < bytes)
        {
            builder.Reset(options);
            while (builder.UncompressedBytes < BatchBytes)
            {
                // Half of it random, so that codecs have work and success.
                random.NextBytes(value.AsSpan(0, value.Length / 2));
                BitConverter.TryWriteBytes(batch, number++ % keys);
                builder.Append(now, (ReadOnlyMemory<byte>?)batch, (ReadOnlyMemory<byte>?)value);
            }

            var result = log.AppendAsLeader(new(builder.Build()), 0, AppendOptions.Client);
            if (!result.IsSuccess)
                throw new InvalidOperationException(result.ErrorMessage);
        }
    }

    private static void Copy(string[] files, string folder)
    {
        Directory.CreateDirectory(folder);
        var buffer = new byte[CopyBufferBytes];
        foreach (var file in files)
        {
            using var from = File.OpenHandle(file);
            using var to = File.OpenHandle(
                Path.Combine(folder, Path.GetFileName(file)), FileMode.CreateNew, FileAccess.ReadWrite);
            long position = 0;
            for (int read; (read = RandomAccess.Read(from, buffer, position)) > 0; position += read)
                RandomAccess.Write(to, buffer.AsSpan(0, read), position);
            RandomAccess.FlushToDisk(to);
        }
    }

    private static (double Wall, double Cpu) Time(Action run)
    {
        using var self = Process.GetCurrentProcess();
        var cpu = self.TotalProcessorTime;
        var started = Stopwatch.GetTimestamp();
        run();
        var wall = Stopwatch.GetElapsedTime(started);
        self.Refresh();
        return (wall.TotalSeconds, (self.TotalProcessorTime - cpu).TotalSeconds);
    }

    private static int Option(string[] args, string name, int fallback)
    {
        var at = Array.IndexOf(args, name);
        return at < 0 ? fallback : int.Parse(args[at + 1], CultureInfo.InvariantCulture);
    }

    private sealed record Shape(string Name, int ValueBytes, int Versions, CompressionType Compression);

    private sealed record Result(
        double CompactMbPerSecond,
        double CopyMbPerSecond,
        double CpuSecondsPerGb,
        double LeftPercent,
        double MapPercent,
        int Passes)
    {
        public double Ratio => CompactMbPerSecond / CopyMbPerSecond;
    }
}
