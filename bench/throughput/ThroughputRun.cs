namespace KBroker.Throughput;

/// <summary>Every scenario on every target, in turns, for some rounds.</summary>
internal sealed class ThroughputRun(Settings settings)
{
    private const long WarmUpBytes = 600_000_000;
    private readonly Results _results = new();
    private readonly DirectDriver _direct = new(settings);
    private readonly LibrdkafkaDriver _librdkafka = new(settings);
    private int _topics;

    internal void Run()
    {
        var drivers = settings.Drivers.ToList();
        if (drivers.Contains("librdkafka") && LibrdkafkaDriver.WhyNot() is { } reason)
        {
            Console.Error.WriteLine($"without librdkafka: {reason}");
            drivers.Remove("librdkafka");
        }

        var brokers = new List<BrokerProcess>();
        RawTarget? raw = null;
        try
        {
            foreach (string target in settings.Targets.Where(t => t != "raw")) Start(target, brokers);
            if (settings.Targets.Contains("raw")) raw = new RawTarget(settings);
            foreach (var broker in brokers) WarmUp(broker, drivers);
            if (raw is not null) Raw(raw, "warm-up", WarmUpBytes, (_, _, _) => { });
            for (int round = 1; round <= settings.Rounds; round++)
            {
                Console.Error.WriteLine($"round {round} of {settings.Rounds}");
                Round(brokers, raw, drivers);
            }
        }
        finally
        {
            raw?.Dispose();
            brokers.ForEach(broker => broker.Dispose());
        }

        _results.Print();
    }

    private void Start(string target, List<BrokerProcess> brokers)
    {
        if (target == "kafka" && settings.KafkaHome is null)
        {
            Console.Error.WriteLine("without Apache Kafka: there is none (--kafka-home)");
            return;
        }

        var broker = new BrokerProcess(settings, target);
        brokers.Add(broker);
        broker.Format();
        broker.Start();
        broker.Connect().Dispose();
        Console.Error.WriteLine($"{target} runs: pid {broker.Id}, port {broker.Port}");
    }

    private void WarmUp(BrokerProcess broker, List<string> drivers)
    {
        foreach (int recordBytes in settings.RecordBytes)
        {
            if (drivers.Contains("direct")) Direct(broker, recordBytes, WarmUpBytes, (_, _, _) => { });
            if (drivers.Contains("librdkafka")) Librdkafka(broker, recordBytes, WarmUpBytes / 10, (_, _, _) => { });
        }
    }

    private void Round(List<BrokerProcess> brokers, RawTarget? raw, List<string> drivers)
    {
        foreach (int recordBytes in settings.RecordBytes)
        {
            foreach (var broker in brokers.Where(_ => drivers.Contains("direct")))
                Direct(broker, recordBytes, settings.Bytes, _results.Add);
            if (raw is not null && drivers.Contains("direct"))
                Raw(raw, $"{recordBytes} B", settings.Bytes, _results.Add);
            foreach (var broker in brokers.Where(_ => drivers.Contains("librdkafka")))
                Librdkafka(broker, recordBytes, settings.LibrdkafkaBytes, _results.Add);
        }
    }

    private void Direct(BrokerProcess broker, int recordBytes, long bytes, Action<string, string, Measurement> add)
    {
        using var topic = new Topic(broker, $"bench-{++_topics}", settings.Connections);
        var load = _direct.Prepare(topic.Id, recordBytes);
        var produced = Measurement.Of(broker.Id, () => _direct.Produce(broker.Port, load, bytes));
        add($"produce {recordBytes} B", broker.Target, produced);
        long records = produced.Bytes / load.BatchBytes * load.RecordsPerBatch;
        if (settings.Acks != 0 && topic.CountRecords() != records)
            throw new InvalidOperationException($"{records} records acknowledged, not as many in the topic");
        add($"fetch {recordBytes} B", broker.Target, Measurement.Of(broker.Id, () =>
        {
            _direct.Fetch(broker.Port, topic, produced.Bytes);
            return produced.Bytes;
        }));
    }

    private void Librdkafka(BrokerProcess broker, int recordBytes, long bytes, Action<string, string, Measurement> add)
    {
        using var topic = new Topic(broker, $"bench-{++_topics}", LibrdkafkaDriver.Partitions);
        var produced = Measurement.Of(broker.Id, () => _librdkafka.Produce(broker.Port, topic, recordBytes, bytes));
        add($"librdkafka produce {recordBytes} B", broker.Target, produced);
        add($"librdkafka fetch {recordBytes} B", broker.Target, Measurement.Of(broker.Id, () =>
        {
            LibrdkafkaDriver.Fetch(broker.Port, topic, produced.Bytes / recordBytes);
            return produced.Bytes;
        }));
    }

    private void Raw(RawTarget raw, string records, long bytes, Action<string, string, Measurement> add)
    {
        Raw(RawOperation.WriteFile, "raw write", $"produce {records}", settings.BatchBytes);
        Raw(RawOperation.Receive, "raw loopback", $"produce {records}", settings.BatchBytes);
        Raw(RawOperation.ReceiveToFile, "raw recv+write", $"produce {records}", settings.BatchBytes);
        Raw(RawOperation.SendMemory, "raw loopback", $"fetch {records}", settings.FetchBytes);
        Raw(RawOperation.SendFile, "raw sendfile", $"fetch {records}", settings.BatchBytes);
        raw.DeleteFiles();

        void Raw(RawOperation operation, string name, string scenario, int step) =>
            add(scenario, name, Measurement.Of(raw.Id, () =>
            {
                raw.Run(operation, bytes, step);
                return bytes;
            }));
    }
}
