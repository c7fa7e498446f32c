using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;

namespace KBroker.Throughput.Delays;

/// <summary>
/// A start with many pending records: until every partition tells its end, and until all schedules are loaded. After a
/// clean stop, after SIGKILL, and with the schedules' files deleted, so that all of the log's flagged batches are read.
/// Beside it the same starts with as many plain records.
/// </summary>
internal sealed partial class DelayStartPart(Settings settings)
{
    private const long DayMs = 86_400_000;
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(300);

    internal void Run()
    {
        Console.WriteLine("| log | after | ready s | CPU s | schedules loaded s | CPU s | RSS MB |");
        Console.WriteLine("|---|---|--:|--:|--:|--:|--:|");
        foreach (var (topics, partitions) in ((int, int)[])[(DelaysRun.TopicsCount, 1), (1, 4)])
        {
            Measure(topics, partitions, isDelaying: false);
            Measure(topics, partitions, isDelaying: true);
        }
    }

    [GeneratedRegex(@"has (\d+) delayed records pending")]
    private static partial Regex Loaded();

    private void Measure(int topics, int partitions, bool isDelaying)
    {
        using var broker = DelaysRun.Start(settings);
        // Deleted with the broker's directory.
        var places = new DelayTopics(broker, "start", topics, partitions, isDelaying);
        long from = DelayLoad.NowMs + DayMs;
        var random = new Random(1);
        DelayLoad.Build(
            places.Places,
            settings.Records,
            settings.RecordBytes[0],
            _ => isDelaying ? from + random.NextInt64(DayMs) : null).Send(broker.Port);
        places.Settle();
        broker.Stop();
        for (int round = 0; round < settings.Rounds; round++)
        {
            Start(broker, places, isDelaying, "clean stop");
            broker.Kill();
            Start(broker, places, isDelaying, "SIGKILL, nothing new");
            broker.Stop();
            if (!isDelaying) continue;
            foreach (string folder in Directory.GetDirectories(broker.DataFolder, "start-*"))
                Array.ForEach(Directory.GetFiles(folder, "kbroker-delay*"), File.Delete);
            Start(broker, places, isDelaying, "clean stop, files deleted");
            broker.Stop();
        }
    }

    private void Start(BrokerProcess broker, DelayTopics places, bool isDelaying, string after)
    {
        int seen = broker.LogLines().Count();
        var clock = Stopwatch.StartNew();
        broker.Start();
        using var connection = broker.Connect();
        while (places.TryEndOffsets(connection) is null) Thread.Sleep(1);
        double ready = clock.Elapsed.TotalSeconds;
        double readyCpu = ProcessUsage.CpuSeconds(broker.Id);
        string loaded = "| - | -";
        while (isDelaying)
        {
            long found = broker.LogLines().Skip(seen).Select(static line => Loaded().Match(line))
                .Where(static match => match.Success)
                .Sum(static match => long.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture));
            if (found == settings.Records)
            {
                loaded = DelaysRun.Text(
                    $"| {clock.Elapsed.TotalSeconds:F2} | {ProcessUsage.CpuSeconds(broker.Id):F2}");
                break;
            }

            if (clock.Elapsed > Limit) throw new TimeoutException($"only {found} were found");
            Thread.Sleep(10);
        }

        Console.WriteLine(
            DelaysRun.Text($"| {places.All.Count} x {places.All[0].Partitions}, {settings.Records:N0} ")
            + $"{(isDelaying ? "pending" : "plain")} | {after} "
            + DelaysRun.Text($"| {ready:F2} | {readyCpu:F2} {loaded} ")
            + DelaysRun.Text($"| {ProcessUsage.Megabytes(broker.Id, "VmRSS"):F0} |"));
    }
}
