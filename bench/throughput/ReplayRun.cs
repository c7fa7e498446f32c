using System.Diagnostics;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Throughput;

/// <summary>
/// How long the coordinator takes to replay its log: from the spawn of the process until every group answers, with
/// committed offsets and without any, and beside it a plain read of the same files.
/// </summary>
/// <remarks>
/// Each group commits 100 partitions a request, so that a batch holds 100 records or more, as those of a consumer group
/// do. Compaction is off: all records are read again.
/// </remarks>
internal sealed class ReplayRun(Settings settings)
{
    private const int GroupsCount = 20;
    private const int PartitionsCount = 100;
    private const int WindowMax = 8;
    private static readonly string[] Groups = [.. Enumerable.Range(0, GroupsCount).Select(static i => $"group-{i}")];

    internal void Run()
    {
        Console.WriteLine(
            "| target | records | MB | plain read ms | start, no offsets ms | start ms | replay ms | records/s "
            + "| plain read / replay | RSS MB |");
        Console.WriteLine("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
        foreach (var target in settings.Brokers())
        {
            using var broker = new BrokerProcess(settings, target);
            broker.Format();
            Start(broker, out _).Dispose();
            broker.Stop();
            var empty = Rounds(broker, expected: 0, out _);
            Fill(broker);
            var full = Rounds(broker, GroupsCount * PartitionsCount, out var resident);
            Print(broker, empty, full, resident);
        }
    }

    private void Fill(BrokerProcess broker)
    {
        broker.Start();
        using var connection = Connected(broker);
        var topic = new Topic(broker, "replayed", PartitionsCount);
        OffsetWire.WaitFor(connection, Groups);
        var requests = settings.Records / PartitionsCount;
        var waiting = 0;
        for (var i = 0; i < requests; i++)
        {
            connection.Send(ProtocolConnection.Frame(
                OffsetWire.Commit(Groups[i % GroupsCount], topic.Name, PartitionsCount, i), OffsetWire.CommitVersion));
            if (++waiting < WindowMax) continue;
            Receive(connection);
            waiting--;
        }

        for (; waiting > 0; waiting--) Receive(connection);
        broker.Stop();
    }

    private static void Receive(ProtocolConnection connection) => OffsetWire.Check(
        connection.Receive<OffsetCommitResponse>(ApiKey.OffsetCommit, OffsetWire.CommitVersion));

    private double Rounds(BrokerProcess broker, int expected, out double resident)
    {
        var milliseconds = new List<double>();
        resident = 0;
        for (var round = 0; round < settings.Rounds; round++)
        {
            var clock = Stopwatch.StartNew();
            using var connection = Start(broker, out var offsets);
            milliseconds.Add(clock.Elapsed.TotalMilliseconds);
            if (offsets != expected) throw new InvalidOperationException($"{offsets} offsets instead of {expected}");
            resident = ProcessUsage.Megabytes(broker.Id, "VmRSS");
            broker.Stop();
        }

        return Results.Median(milliseconds);
    }

    private static ProtocolConnection Start(BrokerProcess broker, out int offsets)
    {
        broker.Start();
        var connection = Connected(broker);
        offsets = OffsetWire.WaitFor(connection, Groups);
        return connection;
    }

    /// <summary>The first question creates the topic, and answers that the coordinator is not there yet.</summary>
    private static ProtocolConnection Connected(BrokerProcess broker)
    {
        var connection = broker.Connect();
        connection.Call<FindCoordinatorResponse>(new FindCoordinatorRequest { CoordinatorKeys = [Groups[0]] }, 4);
        return connection;
    }

    private static void Print(BrokerProcess broker, double empty, double full, double resident)
    {
        var files = Directory.GetFiles(broker.DataFolder, "*.log", SearchOption.AllDirectories)
            .Where(static file => Path.GetFileName(Path.GetDirectoryName(file)!)
                .StartsWith("__consumer_offsets-", StringComparison.Ordinal)).ToList();
        var buffer = new byte[1 << 20];
        var bytes = 0L;
        var clock = Stopwatch.StartNew();
        foreach (var file in files)
        {
            using var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, 0);
            for (int count; (count = stream.Read(buffer)) > 0;) bytes += count;
        }

        var read = clock.Elapsed.TotalMilliseconds;
        var records = CountRecords(files);
        var replay = Math.Max(1, full - empty);
        Console.WriteLine(FormattableString.Invariant(
            $"| {broker.Target} | {records} | {bytes / 1e6:F0} | {read:F0} | {empty:F0} | {full:F0} | {replay:F0} ")
            + FormattableString.Invariant(
                $"| {records * 1000 / replay:F0} | {read / replay:F3} | {resident:F0} |"));
    }

    private static long CountRecords(List<string> files)
    {
        var count = 0L;
        foreach (var file in files)
        {
            var bytes = File.ReadAllBytes(file);
            foreach (var batch in KBroker.Protocol.Records.RecordBatches.Enumerate(new(bytes)))
                count += batch.Header.RecordsCount;
        }

        return count;
    }
}
