using System.Globalization;
using KBroker.Protocol.Messages;

namespace KBroker.Throughput;

/// <summary>
/// The same work over 1, 100, 1,000, 5,000 partitions, and what is left of the rate of one partition. Each count has
/// topics of its own; the brokers take turns within a round.
/// </summary>
internal sealed class PartitionsRun(Settings settings)
{
    private const long WarmUpBytes = 60_000_000;
    private const string Divided = "produce, same bytes a linger, MB";
    private const int BatchBytes = 16 * 1024;
    private const int RequestBytes = 1024 * 1024;
    private const int KafkaPartitionsMax = 1_000;
    private const int TailCount = 1_000;
    private const int MetadataCount = 400;
    private const short MetadataVersion = 12;
    private readonly PartitionsDriver _driver = new(settings);
    private readonly Dictionary<(string Scenario, string Target, int Partitions), List<Measurement>> _all = [];
    private int _topics;

    internal void Run()
    {
        var brokers = new List<BrokerProcess>();
        try
        {
            foreach (string target in settings.Brokers())
            {
                var broker = new BrokerProcess(settings, target);
                brokers.Add(broker);
                broker.Format();
                broker.Start();
                broker.Connect().Dispose();
            }

            foreach (var broker in brokers) Measure(broker, 10, WarmUpBytes, (_, _) => { });
            for (int round = 0; round < settings.Rounds; round++)
            {
                foreach (int partitions in settings.Partitions)
                {
                    foreach (var broker in brokers.Where(b => b.Target != "kafka" || partitions <= KafkaPartitionsMax))
                        Measure(broker, partitions, settings.Bytes, (what, m) => Add(what, broker, partitions, m));
                }
            }
        }
        finally
        {
            brokers.ForEach(broker => broker.Dispose());
        }

        Print();
    }

    private void Measure(BrokerProcess broker, int partitions, long bytes, Action<string, Measurement> add)
    {
        if (settings.Load.Length == 0) MeasureLarge(broker, partitions, bytes, add);
        // What a producer has in a linger is divided among the partitions: the more there are, the smaller each batch.
        if (Divided.Contains(settings.Load, StringComparison.Ordinal)) MeasureDivided(broker, partitions, bytes, add);
    }

    private void MeasureLarge(BrokerProcess broker, int partitions, long bytes, Action<string, Measurement> add)
    {
        using var topic = new Topic(broker, NewName(), partitions);
        var load = _driver.Prepare(topic, BatchBytes, RequestBytes);
        add("first batch of each, MB", Measurement.Of(broker.Id, () => _driver.Produce(broker.Port, load, 1)));
        var whole = Measurement.Of(broker.Id, () => _driver.Produce(broker.Port, load, bytes));
        add("produce, batches of 16 KB, MB", whole);
        add("fetch of 16 KB batches, MB", Fetch(broker, topic));
        add("tail, 1 of all partitions written, round trips", Measurement.Of(broker.Id, () =>
        {
            _driver.Tail(broker.Port, topic, TailCount);
            return TailCount;
        }));
        add("metadata of the topic, answers", Measurement.Of(broker.Id, () => AskMetadata(broker, topic)));
    }

    private void MeasureDivided(BrokerProcess broker, int partitions, long bytes, Action<string, Measurement> add)
    {
        using var topic = new Topic(broker, NewName(), partitions);
        int each = Math.Min(settings.LingerBytes / partitions, BatchBytes);
        var load = _driver.Prepare(topic, each, settings.LingerBytes);
        _driver.Produce(broker.Port, load, 1);
        add(Divided, Measurement.Of(broker.Id, () => _driver.Produce(broker.Port, load, bytes / 4)));
        add("fetch of these, MB", Fetch(broker, topic));
    }

    private string NewName() => $"partitions-{++_topics}-";

    private Measurement Fetch(BrokerProcess broker, Topic topic)
    {
        var ends = topic.EndOffsets();
        long size = Directory.GetDirectories(broker.DataFolder, topic.Name + "*")
            .Sum(partition => Directory.GetFiles(partition, "*.log").Sum(file => new FileInfo(file).Length));
        return Measurement.Of(broker.Id, () =>
        {
            _driver.Fetch(broker.Port, topic, ends);
            return size;
        });
    }

    private static long AskMetadata(BrokerProcess broker, Topic topic)
    {
        using var connection = broker.Connect();
        for (int i = 0; i < MetadataCount; i++)
        {
            var answer = connection.Call<MetadataResponse>(
                new MetadataRequest { Topics = [new() { Name = topic.Name }] }, MetadataVersion);
            if (answer.Topics[0].Partitions.Count != topic.Partitions)
                throw new InvalidDataException($"{answer.Topics[0].Partitions.Count} partitions in the metadata");
        }

        return MetadataCount;
    }

    private void Add(string scenario, BrokerProcess broker, int partitions, Measurement measurement)
    {
        var key = (scenario, broker.Target, partitions);
        if (!_all.TryGetValue(key, out var list)) _all[key] = list = [];
        list.Add(measurement);
        double unit = Unit(scenario);
        Console.Error.WriteLine(
            $"  {scenario,-48} {broker.Target,-8} {partitions,5} "
            + $"{measurement.Bytes / unit / measurement.Seconds,10:F1}/s  "
            + $"server {CpuMilliseconds(scenario, measurement),8:F3} ms  "
            + $"client {measurement.ClientCpuSeconds * 1000 / (measurement.Bytes / unit),8:F3} ms");
    }

    private void Print()
    {
        Console.WriteLine(
            "| scenario and unit | target | partitions | units/s | to one partition | server CPU ms a unit "
            + "| to one partition | rate, KBroker : Kafka | CPU, KBroker : Kafka |");
        Console.WriteLine("|---|---|--:|--:|--:|--:|--:|--:|--:|");
        var scenarios = _all.Keys.Select(k => k.Scenario).Distinct().ToList();
        var least = settings.Partitions.Min();
        foreach (var key in _all.Keys.OrderBy(k => scenarios.IndexOf(k.Scenario)).ThenByDescending(k => k.Target))
        {
            var one = _all[key with { Partitions = least }];
            double unit = Unit(key.Scenario);
            double rate = Results.Median(_all[key].Select(m => m.Bytes / unit / m.Seconds));
            double cpu = Results.Median(_all[key].Select(m => CpuMilliseconds(key.Scenario, m)));
            string beside = key.Target == "kbroker" && _all.TryGetValue(key with { Target = "kafka" }, out var kafka)
                ? Text($"{Ratio(_all[key], kafka, Rate):F2} | {Ratio(_all[key], kafka, Cpu):F2}") : " | ";
            Console.WriteLine(
                Text($"| {key.Scenario} | {key.Target} | {key.Partitions} | {rate:F1} ")
                + Text($"| {Ratio(_all[key], one, Rate):F2} | {cpu:F3} ")
                + Text($"| {Ratio(_all[key], one, Cpu):F2} | {beside} |"));
        }
    }

    private static double Unit(string scenario) => scenario.EndsWith(", MB", StringComparison.Ordinal) ? 1e6 : 1;

    private static double CpuMilliseconds(string scenario, Measurement m) =>
        m.ServerCpuSeconds * 1000 / (m.Bytes / Unit(scenario));

    private static double Rate(Measurement m) => m.Bytes / m.Seconds;

    private static double Cpu(Measurement m) => m.ServerCpuSeconds / m.Bytes;

    private static double Ratio(List<Measurement> ours, List<Measurement> others, Func<Measurement, double> figure) =>
        Results.Median(ours.Zip(others, (one, other) => figure(one) / figure(other)));

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
