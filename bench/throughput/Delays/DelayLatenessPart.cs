using System.Buffers.Binary;
using System.Diagnostics;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;

namespace KBroker.Throughput.Delays;

/// <summary>
/// How late records are at 10,000 due a second, in the log and at a consumer; beside it what the same consumers take
/// to see plain records of which as many are produced, in batches of ten.
/// </summary>
internal sealed class DelayLatenessPart(Settings settings)
{
    private const int PerSecond = 10_000;
    private const int PlainBatch = 10;
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);
    private int _number;

    internal void Run()
    {
        using var broker = DelaysRun.Start(settings);
        Console.WriteLine(
            "| topics x partitions | what | records | appended p50 ms | p99 ms | seen p50 ms "
            + "| p99 ms | most ms | broker CPU s/s |");
        Console.WriteLine("|---|---|--:|--:|--:|--:|--:|--:|--:|");
        for (int round = 0; round <= settings.Rounds; round++)
        {
            foreach (var (topics, partitions) in ((int, int)[])[(DelaysRun.TopicsCount, 1), (1, 4)])
            {
                // The first round warms up.
                int seconds = round == 0 ? 2 : 10;
                Plain(broker, topics, partitions, seconds, round > 0);
                Delayed(broker, topics, partitions, seconds, round > 0);
            }
        }
    }

    private void Delayed(BrokerProcess broker, int topics, int partitions, int seconds, bool counts)
    {
        int records = PerSecond * seconds;
        using var delayed = new DelayTopics(broker, $"late-{++_number}", topics, partitions, isDelaying: true);
        long from = DelayLoad.NowMs + 5000;
        var random = new Random(5);
        DelayLoad.Build(delayed.Places, records, settings.RecordBytes[0], _ => from + random.Next(seconds * 1000))
            .Send(broker.Port);
        using var connection = broker.Connect();
        if (DelayLoad.NowMs >= from) throw new InvalidOperationException("it was due before all was written");
        using var consumers = new DelayConsumers(broker.Port, delayed.Places);
        while (DelayLoad.NowMs < from) Thread.Sleep(1);
        double cpu = ProcessUsage.CpuSeconds(broker.Id);
        var clock = Stopwatch.StartNew();
        Await(consumers, records);
        Print(delayed, "delayed", consumers, ProcessUsage.CpuSeconds(broker.Id) - cpu, clock.Elapsed, counts);
    }

    private void Plain(BrokerProcess broker, int topics, int partitions, int seconds, bool counts)
    {
        int records = PerSecond * seconds;
        using var plain = new DelayTopics(broker, $"plain-{++_number}", topics, partitions, isDelaying: false);
        using var consumers = new DelayConsumers(broker.Port, plain.Places);
        using var connection = broker.Connect();
        using var builder = new RecordBatchBuilder(RecordBatchOptions.Default);
        var value = new byte[Math.Max(sizeof(long), settings.RecordBytes[0])];
        double cpu = ProcessUsage.CpuSeconds(broker.Id);
        var clock = Stopwatch.StartNew();
        for (int sent = 0; sent < records; sent += PlainBatch)
        {
            while (clock.Elapsed.TotalSeconds * PerSecond < sent) Thread.Sleep(1);
            builder.Reset(RecordBatchOptions.Default);
            long now = DelayLoad.NowMs;
            BinaryPrimitives.WriteInt64BigEndian(value, now);
            for (int i = 0; i < PlainBatch; i++) builder.Append(now, null, (ReadOnlyMemory<byte>?)value);
            connection.Send(DelayLoad.Frame(plain.Places[sent / PlainBatch % plain.Places.Count], builder.Build()));
            DelayLoad.Check(connection.Receive<ProduceResponse>(ApiKey.Produce, ProducerFrame.ProduceVersion));
        }

        Await(consumers, records);
        Print(plain, "plain", consumers, ProcessUsage.CpuSeconds(broker.Id) - cpu, clock.Elapsed, counts);
    }

    private static void Await(DelayConsumers consumers, int records)
    {
        var limit = Stopwatch.StartNew();
        while (consumers.Count < records)
        {
            if (limit.Elapsed > Limit) throw new TimeoutException($"only {consumers.Count} of {records} were seen");
            Thread.Sleep(5);
        }
    }

    private static void Print(
        DelayTopics topics, string what, DelayConsumers consumers, double cpu, TimeSpan time, bool counts)
    {
        consumers.Dispose();
        if (!counts) return;
        consumers.Appended.Sort();
        consumers.Seen.Sort();
        string appended = what == "plain"
            ? "| - | -"
            : DelaysRun.Text($"| {At(consumers.Appended, 0.5):F0} | {At(consumers.Appended, 0.99):F0}");
        Console.WriteLine(
            DelaysRun.Text($"| {topics.All.Count} x {topics.All[0].Partitions} | {what} | {consumers.Seen.Count} ")
            + DelaysRun.Text($"{appended} | {At(consumers.Seen, 0.5):F1} | {At(consumers.Seen, 0.99):F1} ")
            + DelaysRun.Text($"| {consumers.Seen[^1]:F0} | {cpu / time.TotalSeconds:F2} |"));
    }

    private static double At(List<double> sorted, double share) => sorted[(int)((sorted.Count - 1) * share)];
}
