namespace KBroker.Throughput.Delays;

/// <summary>
/// What a pending record takes: of the broker's memory, after as many plain records in the same process, and on disk.
/// </summary>
internal sealed class DelayMemoryPart(Settings settings)
{
    private const long HourMs = 3_600_000;

    internal void Run()
    {
        using var broker = DelaysRun.Start(settings);
        int records = settings.Records;
        using var plain = new DelayTopics(broker, "plain", DelaysRun.TopicsCount, 1, isDelaying: false);
        using var delayed = new DelayTopics(broker, "delayed", DelaysRun.TopicsCount, 1, isDelaying: true);
        Console.WriteLine(
            "| | RSS MB | anonymous MB | bytes a record | log bytes a record | index, schedule bytes a record |");
        Console.WriteLine("|---|--:|--:|--:|--:|--:|");
        plain.Settle();
        var idle = Memory.Of(broker);
        Print("idle, 200 topics", idle, "", "", "");
        Write(broker, plain, records, null);
        var before = Memory.Of(broker);
        string plainBytes = PerRecord(broker, "plain", ".log", records);
        Print(DelaysRun.Text($"{records:N0} plain records"), before, "", plainBytes, "");
        long from = DelayLoad.NowMs + HourMs;
        var random = new Random(1);
        Write(broker, delayed, records, _ => from + random.NextInt64(HourMs));
        var after = Memory.Of(broker);
        Print(
            DelaysRun.Text($"{records:N0} pending records more"),
            after,
            DelaysRun.Text($"{(after.Anonymous - before.Anonymous) * 1e6 / records:F0}"),
            PerRecord(broker, "delayed", ".log", records),
            DelaysRun.Text($"{Files(broker, "delayed", ".flagindex") / (double)records:F1}, ")
                + DelaysRun.Text($"{Files(broker, "delayed", ".run") / (double)records:F1}"));
    }

    private void Write(BrokerProcess broker, DelayTopics topics, int records, Func<int, long?>? dueMs)
    {
        // In portions, so that what is built beforehand does not grow with their number.
        for (int left = records; left > 0; left -= 1_000_000)
        {
            DelayLoad.Build(
                topics.Places, Math.Min(left, 1_000_000), settings.RecordBytes[0], dueMs ?? (static _ => null))
                .Send(broker.Port);
        }

        topics.Settle();
    }

    private static long Files(BrokerProcess broker, string topics, string suffix) =>
        Directory.GetDirectories(broker.DataFolder, topics + "*")
            .SelectMany(folder => Directory.GetFiles(folder, "*" + suffix))
            .Sum(static file => new FileInfo(file).Length);

    private static string PerRecord(BrokerProcess broker, string topics, string suffix, int records) =>
        DelaysRun.Text($"{Files(broker, topics, suffix) / (double)records:F0}");

    private static void Print(string what, Memory memory, string bytes, string log, string files) =>
        Console.WriteLine(DelaysRun.Text(
            $"| {what} | {memory.Resident:F0} | {memory.Anonymous:F0} | {bytes} | {log} | {files} |"));

    private readonly record struct Memory(double Resident, double Anonymous)
    {
        internal static Memory Of(BrokerProcess broker) => new(
            ProcessUsage.Megabytes(broker.Id, "VmRSS"), ProcessUsage.Megabytes(broker.Id, "RssAnon"));
    }
}
