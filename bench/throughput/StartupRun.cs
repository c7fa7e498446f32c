using System.Diagnostics;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;

namespace KBroker.Throughput;

/// <summary>
/// From the spawn of the process to the first acknowledged produce, on a new directory (the topic is created on the
/// way)
/// and on the same directory again after a clean stop; and the resident memory of a broker that nobody uses.
/// </summary>
internal sealed class StartupRun(Settings settings)
{
    private const string Topic = "startup";
    private const short MetadataVersion = 9;
    private const short ProduceVersion = 9;

    internal void Run()
    {
        Console.WriteLine(
            "| target | start | first produce ms (median) | all ms | CPU ms | RSS MB | after 10 s | anonymous |");
        Console.WriteLine("|---|---|--:|---|--:|--:|--:|--:|");
        foreach (string target in settings.Brokers())
        {
            var fresh = new List<Figures>();
            var again = new List<Figures>();
            for (int round = 0; round < settings.Rounds; round++)
            {
                using var broker = new BrokerProcess(settings, target);
                broker.Format();
                // Resting takes 10 s: the first round is enough for memory.
                fresh.Add(Start(broker, rest: round == 0));
                again.Add(Start(broker, rest: round == 0));
            }

            Print(target, target == "kafka" ? "new directory, formatted before" : "new directory", fresh);
            Print(target, "again", again);
        }
    }

    private static Figures Start(BrokerProcess broker, bool rest)
    {
        var clock = Stopwatch.StartNew();
        broker.Start();
        using (var connection = broker.Connect())
        {
            while (!TryProduce(connection)) Thread.Sleep(1);
        }

        double milliseconds = clock.Elapsed.TotalMilliseconds;
        double cpu = ProcessUsage.CpuSeconds(broker.Id) * 1000;
        double resident = ProcessUsage.Megabytes(broker.Id, "VmRSS");
        var figures = new Figures(milliseconds, cpu, resident, 0, 0);
        if (rest)
        {
            Thread.Sleep(10_000);
            figures = figures with
            {
                RestedMegabytes = ProcessUsage.Megabytes(broker.Id, "VmRSS"),
                AnonymousMegabytes = ProcessUsage.Megabytes(broker.Id, "RssAnon"),
            };
        }

        broker.Stop();
        return figures;
    }

    // Metadata first, as a client does, because it creates the topic where there is none yet.
    private static bool TryProduce(ProtocolConnection connection)
    {
        var metadata = connection.Call<MetadataResponse>(
            new MetadataRequest { Topics = [new() { Name = Topic }], AllowAutoTopicCreation = true }, MetadataVersion);
        if (metadata.Topics[0].ErrorCode != ErrorCode.None) return false;
        using var builder = new RecordBatchBuilder(RecordBatchOptions.Default);
        builder.Append(TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds(), null, "first"u8.ToArray());
        var request = new ProduceRequest
        {
            Acks = 1,
            TimeoutMs = 1000,
            TopicData = [new() { Name = Topic, PartitionData = [new() { Records = new Records(builder.Build()) }] }],
        };
        var answer = connection.Call<ProduceResponse>(request, ProduceVersion);
        return answer.Responses[0].PartitionResponses[0].ErrorCode == ErrorCode.None;
    }

    private static void Print(string target, string start, List<Figures> rounds)
    {
        string all = string.Join(", ", rounds.Select(r => FormattableString.Invariant($"{r.Milliseconds:F0}")));
        double median = Results.Median(rounds.Select(r => r.Milliseconds));
        double cpu = Results.Median(rounds.Select(r => r.CpuMilliseconds));
        Console.WriteLine(FormattableString.Invariant(
            $"| {target} | {start} | {median:F0} | {all} | {cpu:F0} | {rounds[0].Megabytes:F0} ")
            + FormattableString.Invariant($"| {rounds[0].RestedMegabytes:F0} | {rounds[0].AnonymousMegabytes:F0} |"));
    }

    private readonly record struct Figures(
        double Milliseconds,
        double CpuMilliseconds,
        double Megabytes,
        double RestedMegabytes,
        double AnonymousMegabytes);
}
