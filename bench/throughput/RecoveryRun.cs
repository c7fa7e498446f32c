using System.Diagnostics;
using System.Globalization;
using KBroker.Protocol.Records;

namespace KBroker.Throughput;

/// <summary>
/// How fast a start after SIGKILL scans what lies behind the recovery point, beside a plain read of the same files and
/// the CRC-32C of the same bytes. Topics are produced to with acks=1 and without a flush, so that all of it must be
/// scanned. What a start costs anyway is taken off: the time of the next start, after a clean stop.
/// </summary>
internal sealed class RecoveryRun(Settings settings)
{
    private const int ChunkBytes = 1024 * 1024;

    /// <summary>num.recovery.threads.per.data.dir.</summary>
    private const int Threads = 2;

    private readonly Dictionary<(int Partitions, bool Cold), List<Round>> _all = [];

    /// <summary>MB/s of each, processor seconds of each for a GB, and the whole start in seconds.</summary>
    private sealed record Round(
        double Recovery, double Read, double Crc, double RecoveryCpu, double ReadCpu, double CrcCpu, double Unclean);

    internal void Run()
    {
        int[] partitions = settings.PartitionsGiven ? settings.Partitions : [1, 4];
        for (int round = 0; round < settings.Rounds; round++)
        {
            foreach (int count in partitions)
            {
                foreach (bool cold in (bool[])[false, true]) Add(count, cold);
            }
        }

        Console.WriteLine("| partitions | page cache | recovery MB/s | plain read MB/s | CRC-32C MB/s "
            + "| recovery : lesser of the two | recovery CPU s/GB | read + CRC CPU s/GB | ratio | open after kill s |");
        Console.WriteLine("|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|");
        foreach (var ((count, cold), rounds) in _all)
        {
            Console.WriteLine(Text($"| {count} | {(cold ? "cold" : "warm")} | {Of(rounds, r => r.Recovery):F0} ")
                + Text($"| {Of(rounds, r => r.Read):F0} | {Of(rounds, r => r.Crc):F0} ")
                + Text($"| {Of(rounds, r => r.Recovery / Math.Min(r.Read, r.Crc)):F2} ")
                + Text($"| {Of(rounds, r => r.RecoveryCpu):F2} | {Of(rounds, r => r.ReadCpu + r.CrcCpu):F2} ")
                + Text($"| {Of(rounds, r => r.RecoveryCpu / (r.ReadCpu + r.CrcCpu)):F2} ")
                + Text($"| {Of(rounds, r => r.Unclean):F2} |"));
        }
    }

    private void Add(int partitions, bool cold)
    {
        if (!_all.TryGetValue((partitions, cold), out var list)) _all[(partitions, cold)] = list = [];
        var round = Measure(partitions, cold, list.Count % 2 == 0);
        list.Add(round);
        Console.Error.WriteLine(Text($"  {partitions,3} partitions {(cold ? "cold" : "warm")}  MB/s, s/GB: ")
            + Text($"recovery {round.Recovery:F0} {round.RecoveryCpu:F2}  read {round.Read:F0} {round.ReadCpu:F2}  ")
            + Text($"crc {round.Crc:F0} {round.CrcCpu:F2}"));
    }

    private Round Measure(int partitions, bool cold, bool isReadFirst)
    {
        using var broker = new BrokerProcess(settings, "kbroker");
        broker.Start();
        var topic = new Topic(broker, "recovered-", partitions);
        var driver = new DirectDriver(settings with { Connections = partitions });
        driver.Produce(broker.Port, driver.Prepare(topic.Id, settings.RecordBytes[^1]), settings.Bytes);
        var ends = topic.EndOffsets();
        broker.Kill();

        string[] files = [.. Directory.GetDirectories(broker.DataFolder, topic.Name + "*")
            .SelectMany(partition => Directory.GetFiles(partition, "*.log"))];
        long bytes = files.Sum(file => new FileInfo(file).Length);
        var (crc, crcCpu) = Checksum(files);
        // Below a virtual disk there may be another cache, which the first read fills. Who reads first changes.
        if (cold) Read(files, cold);
        var (read, readCpu) = isReadFirst ? Read(files, cold) : default;
        if (cold) Array.ForEach(files, Evict);
        var (unclean, uncleanCpu) = Open(broker, topic, ends);
        broker.Stop();
        if (cold) Array.ForEach(files, Evict);
        var (clean, cleanCpu) = Open(broker, topic, ends);
        if (!isReadFirst) (read, readCpu) = Read(files, cold);
        double megabytes = bytes / 1e6, gigabytes = bytes / 1e9;
        return new Round(
            megabytes / (unclean - clean), megabytes / read, megabytes / crc,
            (uncleanCpu - cleanCpu) / gigabytes, readCpu / gigabytes, crcCpu / gigabytes, unclean);
    }

    /// <summary>From the spawn until every partition tells the end offset that it had.</summary>
    private static (double Seconds, double Cpu) Open(BrokerProcess broker, Topic topic, List<long> ends)
    {
        var clock = Stopwatch.StartNew();
        broker.Start();
        broker.Connect().Dispose();
        List<long>? found;
        while ((found = topic.TryEndOffsets()) is null) Thread.Sleep(1);
        double seconds = clock.Elapsed.TotalSeconds;
        if (!found.SequenceEqual(ends)) throw new InvalidOperationException("records are missing after the recovery");
        return (seconds, ProcessUsage.CpuSeconds(broker.Id));
    }

    /// <summary>Reads all files once, as many at a time as recovery does.</summary>
    private static (double Seconds, double Cpu) Read(string[] files, bool cold)
    {
        if (cold) Array.ForEach(files, Evict);
        return Timed(files, (file, buffer) =>
        {
            using var handle = File.OpenHandle(file);
            for (long position = 0; RandomAccess.Read(handle, buffer, position) is > 0 and var count; position += count)
            {
            }
        });
    }

    /// <summary>The checksum of as many bytes, which are in memory.</summary>
    private static (double Seconds, double Cpu) Checksum(string[] files)
    {
        Crc32C.Compute(new byte[ChunkBytes]);
        return Timed(files, (file, buffer) =>
        {
            for (long left = new FileInfo(file).Length; left > 0; left -= buffer.Length)
                Crc32C.Compute(buffer.AsSpan(0, (int)Math.Min(left, buffer.Length)));
        });
    }

    /// <summary>By partition, because recovery divides its threads among those.</summary>
    private static (double Seconds, double Cpu) Timed(string[] files, Action<string, byte[]> work)
    {
        double cpu = ProcessUsage.CpuSeconds(Environment.ProcessId);
        var clock = Stopwatch.StartNew();
        Parallel.ForEach(
            files.GroupBy(Path.GetDirectoryName),
            new ParallelOptions { MaxDegreeOfParallelism = Threads },
            partition =>
            {
                var buffer = new byte[ChunkBytes];
                foreach (string file in partition) work(file, buffer);
            });
        return (clock.Elapsed.TotalSeconds, ProcessUsage.CpuSeconds(Environment.ProcessId) - cpu);
    }

    /// <summary>Lets the page cache forget a file.</summary>
    private static void Evict(string file)
    {
        using var handle = File.OpenHandle(file, access: FileAccess.ReadWrite);
        if (NativeFile.Fdatasync(handle) != 0 || NativeFile.Forget(handle) != 0)
            throw new IOException($"{file} cannot be evicted from the page cache");
    }

    private static double Of(List<Round> rounds, Func<Round, double> figure) => Results.Median(rounds.Select(figure));

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
