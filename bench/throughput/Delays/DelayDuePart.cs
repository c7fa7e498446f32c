using System.Diagnostics;

namespace KBroker.Throughput.Delays;

/// <summary>
/// How fast due records are delivered, and what that takes, beside a plain produce of the same records: due within ten
/// seconds in the order of their offsets (as with levels) or in any order, and all at once.
/// </summary>
internal sealed class DelayDuePart(Settings settings)
{
    private const int SpanMs = 10_000;
    private static readonly TimeSpan Sample = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(120);
    private int _number;

    private enum Order
    {
        AsWritten,
        Any,
        AtOnce,
    }

    internal void Run()
    {
        using var broker = DelaysRun.Start(settings);
        Console.WriteLine(
            "| topics x partitions | due | due/s | delivered/s | behind the last due s | CPU s/M "
            + "| plain produce/s | CPU s/M | ratio of CPU | peak RSS MB |");
        Console.WriteLine("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|");
        for (int round = 0; round < settings.Rounds; round++)
        {
            foreach (var (topics, partitions) in ((int, int)[])[(DelaysRun.TopicsCount, 1), (1, 4)])
            {
                foreach (var order in (Order[])[Order.AsWritten, Order.Any, Order.AtOnce])
                    Measure(broker, topics, partitions, order);
            }
        }
    }

    private void Measure(BrokerProcess broker, int topics, int partitions, Order order)
    {
        int records = settings.Records;
        var building = Stopwatch.StartNew();
        Plain plain;
        using (var others = new DelayTopics(broker, $"plain-{++_number}", topics, partitions, isDelaying: false))
            plain = Produce(broker, DelayLoad.Build(others.Places, records, settings.RecordBytes[0], static _ => null));

        using var delayed = new DelayTopics(broker, $"delayed-{_number}", topics, partitions, isDelaying: true);
        // The machine may have become slower since.
        long from = DelayLoad.NowMs + 5000 + (2 * building.ElapsedMilliseconds);
        var random = new Random(3);
        DelayLoad.Build(delayed.Places, records, settings.RecordBytes[0], n => from + order switch
        {
            Order.AsWritten => (long)n * SpanMs / records,
            Order.Any => random.Next(SpanMs),
            _ => 0,
        }).Send(broker.Port);
        using var connection = broker.Connect();
        long early = delayed.CountRecords(connection) - records;
        if (early > 0 || DelayLoad.NowMs >= from)
            throw new InvalidOperationException($"{early} were delivered before all was written: use fewer records");
        while (DelayLoad.NowMs < from) Thread.Sleep(1);
        double cpu = ProcessUsage.CpuSeconds(broker.Id);
        double last = Await(delayed, connection, records, from);
        cpu = ProcessUsage.CpuSeconds(broker.Id) - cpu;
        double millions = records / 1e6;
        string due = order == Order.AtOnce ? "all at once" : DelaysRun.Text($"{records * 1000.0 / SpanMs:F0}");
        Console.WriteLine(
            DelaysRun.Text($"| {topics} x {partitions} ")
            + $"| {(order == Order.Any ? "in any order" : "as written")} | {due} "
            + DelaysRun.Text($"| {records / last:F0} | {last - (order == Order.AtOnce ? 0 : SpanMs / 1000.0):F2} ")
            + DelaysRun.Text($"| {cpu / millions:F2} | {plain.Rate:F0} | {plain.Cpu / millions:F2} ")
            + DelaysRun.Text($"| {cpu / plain.Cpu:F2} | {ProcessUsage.Megabytes(broker.Id, "VmHWM"):F0} |"));
    }

    /// <summary>Waits until everything is delivered, and tells what was delivered each half second.</summary>
    /// <returns>Seconds since the first one was due.</returns>
    private static double Await(DelayTopics topics, ProtocolConnection connection, int records, long from)
    {
        long before = 0;
        var sampled = Stopwatch.StartNew();
        while (true)
        {
            long delivered = topics.CountRecords(connection) - records;
            double since = (DelayLoad.NowMs - from) / 1000.0;
            if (delivered > records) throw new InvalidOperationException($"{delivered} records were delivered");
            if (delivered == records) return since;
            if (since > Limit.TotalSeconds) throw new TimeoutException($"only {delivered} were delivered");
            if (sampled.Elapsed >= Sample)
            {
                Console.Error.WriteLine(DelaysRun.Text($"    {since:F1} s: {delivered:N0} delivered, ")
                    + DelaysRun.Text($"{(delivered - before) / sampled.Elapsed.TotalSeconds:F0}/s"));
                (before, sampled) = (delivered, Stopwatch.StartNew());
            }

            Thread.Sleep(20);
        }
    }

    private static Plain Produce(BrokerProcess broker, DelayLoad load)
    {
        double cpu = ProcessUsage.CpuSeconds(broker.Id);
        var clock = Stopwatch.StartNew();
        load.Send(broker.Port);
        return new Plain(load.Records / clock.Elapsed.TotalSeconds, ProcessUsage.CpuSeconds(broker.Id) - cpu);
    }

    private readonly record struct Plain(double Rate, double Cpu);
}
