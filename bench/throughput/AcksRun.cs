using System.Diagnostics;
using System.Globalization;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;

namespace KBroker.Throughput;

/// <summary>
/// What waiting for stable storage costs: the same load with acks=1, acks=all, acks=all without the flush, on Apache
/// Kafka, and as plain appends with fdatasync. All in one run, in turns.
/// </summary>
/// <remarks>
/// A producer is a connection with batches of its own, spread over the topic's partitions; so many requests of one
/// batch are under way on each. The last load is one producer that waits for each answer, whose latency is compared
/// with the write and fdatasync of the same bytes by one thread.
/// </remarks>
internal sealed class AcksRun(Settings settings)
{
    private const short ProduceVersion = 13;
    private const int FramesPerProducer = 8;

    // batch.size of Kafka's producer.
    private const int BatchBytes = 16 * 1024;

    private static readonly Load[] Loads =
    [
        new("16 producers, 1 partition", 16, 1, 5),
        new("16 producers, 16 partitions", 16, 16, 5),
        new("16 producers, 100 partitions", 16, 100, 5),
        new("16 producers, 1 partition, each waits", 16, 1, 1),
        new("1 producer, waits for each", 1, 1, 1),
    ];

    private readonly Dictionary<(string Load, string Kind), List<Figures>> _figures = [];
    private readonly List<string> _kinds = [];
    private int _topics;

    internal void Run()
    {
        var brokers = settings.Brokers().Select(target => new BrokerProcess(settings, target)).ToList();
        try
        {
            foreach (var broker in brokers)
            {
                broker.Format();
                broker.Start();
                broker.Connect().Dispose();
            }

            Round(brokers, warmUp: true);
            for (int round = 1; round <= settings.Rounds; round++)
            {
                Console.Error.WriteLine($"round {round} of {settings.Rounds}");
                Round(brokers, warmUp: false);
            }
        }
        finally
        {
            brokers.ForEach(broker => broker.Dispose());
        }

        Print();
    }

    private void Round(List<BrokerProcess> brokers, bool warmUp)
    {
        foreach (var load in Loads.Where(l => l.Name.Contains(settings.Load, StringComparison.Ordinal)))
        {
            foreach (var broker in brokers)
            {
                foreach (var (kind, acks, configs) in KindsOf(broker.Target))
                {
                    using var topic = new Topic(broker, $"acks-{++_topics}", load.Partitions, configs);
                    Add(load, kind, Produce(broker, topic, load, acks), warmUp);
                }
            }

            if (settings.Targets.Contains("raw"))
            {
                Add(load, "raw write+fdatasync", Raw(load, isTogether: false), warmUp);
                if (load.Partitions > 1) Add(load, "raw write+syncfs", Raw(load, isTogether: true), warmUp);
            }
        }
    }

    private static IEnumerable<(string Kind, short Acks, Dictionary<string, string> Configs)> KindsOf(string target)
    {
        if (target == "kafka")
        {
            return
            [
                ("kafka acks=1", 1, []),
                ("kafka acks=all", -1, []),
                ("kafka acks=all, flush.messages=1", -1, new() { ["flush.messages"] = "1" }),
            ];
        }

        return
        [
            ("acks=1", 1, []),
            ("acks=all", -1, []),
            ("acks=all, no flush", -1, new() { ["kbroker.flush.acks.all"] = "false" }),
        ];
    }

    private Figures Produce(BrokerProcess broker, Topic topic, Load load, short acks)
    {
        var frames = Prepare(topic.Id, load, acks, out int batchBytes);
        var latencies = new List<double>[load.Producers];
        double cpu = ProcessUsage.CpuSeconds(broker.Id);
        var clock = Stopwatch.StartNew();
        DirectDriver.InThreads(load.Producers, index =>
            latencies[index] = Produce(broker.Port, frames[index], load, clock));
        double seconds = clock.Elapsed.TotalSeconds;
        int requests = latencies.Sum(l => l.Count);
        cpu = ProcessUsage.CpuSeconds(broker.Id) - cpu;
        return new Figures((long)requests * batchBytes, requests, seconds, cpu, [.. latencies.SelectMany(l => l)]);
    }

    /// <summary>Sends for the time of a measurement, then waits for the last answers.</summary>
    private List<double> Produce(int port, byte[][] frames, Load load, Stopwatch clock)
    {
        using var connection = new ProtocolConnection(port);
        var latencies = new List<double>();
        var sentAt = new Queue<double>();
        int sent = 0;
        while (true)
        {
            if (clock.ElapsedMilliseconds < settings.Seconds * 1000L && sentAt.Count < load.InFlight)
            {
                connection.Send(frames[sent++ % frames.Length]);
                sentAt.Enqueue(clock.Elapsed.TotalMilliseconds);
                continue;
            }

            if (sentAt.Count == 0) return latencies;
            var answer = connection.Receive<ProduceResponse>(ApiKey.Produce, ProduceVersion);
            var partition = answer.Responses[0].PartitionResponses[0];
            if (partition.ErrorCode != ErrorCode.None)
                throw new InvalidOperationException($"Produce: {partition.ErrorCode} {partition.ErrorMessage}");
            latencies.Add(clock.Elapsed.TotalMilliseconds - sentAt.Dequeue());
        }
    }

    private byte[][][] Prepare(Uuid topicId, Load load, short acks, out int batchBytes)
    {
        var frames = new byte[load.Producers][][];
        batchBytes = 0;
        for (int producer = 0; producer < frames.Length; producer++)
        {
            // Each producer goes round the partitions that fall to it.
            int count = Math.Max(FramesPerProducer, (load.Partitions + load.Producers - 1) / load.Producers);
            frames[producer] = new byte[count][];
            for (int i = 0; i < count; i++)
            {
                byte[] batch = Batch(load, new Random((producer * 1000) + i));
                batchBytes = batch.Length;
                int partition = (producer + (i * load.Producers)) % load.Partitions;
                var request = new ProduceRequest
                {
                    Acks = acks,
                    TimeoutMs = 30_000,
                    TopicData =
                    [
                        new()
                        {
                            TopicId = topicId,
                            PartitionData = [new() { Index = partition, Records = new Records(batch) }],
                        },
                    ],
                };
                frames[producer][i] = ProtocolConnection.Frame(request, ProduceVersion);
            }
        }

        return frames;
    }

    /// <summary>Kafka's default batch of 16 KB where producers do not wait, a single record where they do.</summary>
    private byte[] Batch(Load load, Random random)
    {
        var value = new byte[settings.RecordBytes[^1]];
        using var builder = new RecordBatchBuilder(RecordBatchOptions.Default);
        int most = RecordBatchBuilder.MaxRecordBytes(0, value.Length);
        do
        {
            random.NextBytes(value);
            builder.Append(TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds(), null, value);
        }
        while (load.InFlight > 1 && builder.UncompressedBytes + most <= BatchBytes);
        return builder.Build().ToArray();
    }

    /// <summary>
    /// One thread appends what all producers could have under way, spread over the partitions' files, and flushes the
    /// files, again and again: group commit without a broker.
    /// </summary>
    private Figures Raw(Load load, bool isTogether)
    {
        byte[] batch = Batch(load, new Random(1));
        string folder = Path.Combine(settings.Directory, $"kbroker-acks-{Environment.ProcessId}");
        Directory.CreateDirectory(folder);
        var files = new FileStream[load.Partitions];
        var latencies = new List<double>();
        var clock = Stopwatch.StartNew();
        try
        {
            for (int i = 0; i < files.Length; i++)
                files[i] = new FileStream(Path.Combine(folder, $"{i}"), FileMode.Create, FileAccess.Write,
                    FileShare.None, bufferSize: 0);
            int requests = 0;
            int underWay = load.Producers * load.InFlight;
            clock.Restart();
            while (clock.ElapsedMilliseconds < settings.Seconds * 1000L)
            {
                double started = clock.Elapsed.TotalMilliseconds;
                for (int i = 0; i < underWay; i++) files[requests++ % files.Length].Write(batch);
                if (isTogether) Check(NativeFile.Syncfs(files[0].SafeFileHandle));
                else foreach (var file in files.Take(underWay)) Check(NativeFile.Fdatasync(file.SafeFileHandle));
                latencies.Add(clock.Elapsed.TotalMilliseconds - started);
            }

            return new Figures((long)requests * batch.Length, requests, clock.Elapsed.TotalSeconds, 0, latencies);
        }
        finally
        {
            foreach (var file in files) file?.Dispose();
            Directory.Delete(folder, recursive: true);
        }
    }

    private static void Check(int result)
    {
        if (result != 0) throw new IOException("a flush failed");
    }

    private void Add(Load load, string kind, Figures figures, bool warmUp)
    {
        if (warmUp) return;
        if (!_kinds.Contains(kind)) _kinds.Add(kind);
        if (!_figures.TryGetValue((load.Name, kind), out var list)) _figures[(load.Name, kind)] = list = [];
        list.Add(figures);
        Console.Error.WriteLine(Text(
            $"  {load.Name,-40} {kind,-20} {figures.MegabytesPerSecond,8:F1} MB/s {figures.Median,8:F2} ms"));
    }

    private void Print()
    {
        Console.WriteLine("| load | kind | MB/s | requests/s | median ms | 99 % ms | to acks=1 | broker CPU s/GB |");
        Console.WriteLine("|---|---|--:|--:|--:|--:|--:|--:|");
        foreach (var load in Loads)
        {
            foreach (string kind in _kinds)
            {
                if (!_figures.TryGetValue((load.Name, kind), out var list)) continue;
                string baseline = kind.StartsWith("kafka", StringComparison.Ordinal) ? "kafka acks=1" : "acks=1";
                string ratio = _figures.TryGetValue((load.Name, baseline), out var first)
                    ? Text($"{Results.Median(list.Zip(first, Ratio)):F2}")
                    : "";
                Console.WriteLine(
                    Text($"| {load.Name} | {kind} | {Of(list, f => f.MegabytesPerSecond):F1} ")
                    + Text($"| {Of(list, f => f.Requests / f.Seconds):F0} | {Of(list, f => f.Median):F2} ")
                    + Text($"| {Of(list, f => f.Percentile(0.99)):F2} | {ratio} | {Of(list, f => f.Cpu):F2} |"));
            }
        }
    }

    private static double Ratio(Figures one, Figures other) => one.MegabytesPerSecond / other.MegabytesPerSecond;

    private static double Of(List<Figures> list, Func<Figures, double> figure) => Results.Median(list.Select(figure));

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    private sealed record Load(string Name, int Producers, int Partitions, int InFlight);

    private sealed record Figures(long Bytes, int Requests, double Seconds, double CpuSeconds, List<double> LatenciesMs)
    {
        internal double MegabytesPerSecond => Bytes / 1e6 / Seconds;

        internal double Cpu => CpuSeconds * 1e9 / Bytes;

        internal double Median => Percentile(0.5);

        internal double Percentile(double share)
        {
            double[] sorted = [.. LatenciesMs.Order()];
            return sorted.Length == 0 ? 0 : sorted[(int)(share * (sorted.Length - 1))];
        }
    }
}
