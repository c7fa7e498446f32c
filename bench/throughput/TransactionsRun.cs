using System.Diagnostics;
using System.Globalization;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Throughput;

/// <summary>
/// Transactions per second of small transactions, the throughput of large ones beside the same without transactions,
/// and idempotent produce beside plain produce. All with acks=all, all in one run, in turns.
/// </summary>
/// <remarks>
/// A producer is a connection that speaks the protocol itself (KIP-890: partitions are added by the first batch), on
/// batches that were built before. Where the broker says CONCURRENT_TRANSACTIONS, it waits 20 ms, as Kafka's own
/// producer does for that error, and sends again; <c>again</c> counts those.
/// </remarks>
internal sealed class TransactionsRun(Settings settings)
{
    private const int Partitions = 4;

    private static readonly Load[] Loads =
    [
        new("small, 1 producer", 1, 1, 1, [Kind.Transactions]),
        new("small, 16 producers", 16, 1, 1, [Kind.Transactions]),
        new("1 MB, 1 producer", 1, 16, 5, [Kind.Plain, Kind.Transactions]),
        new("1 MB, 4 producers", 4, 16, 5, [Kind.Plain, Kind.Transactions]),
        new("batches of 16 KB, 4 producers", 4, 0, 5, [Kind.Plain, Kind.Idempotent]),
        new("single records, 16 producers", 16, 0, 5, [Kind.Plain, Kind.Idempotent]),
    ];

    private readonly Dictionary<(string Load, Kind Kind, string Target), List<Figures>> _figures = [];
    private int _topics;

    private enum Kind
    {
        Plain,
        Idempotent,
        Transactions,
    }

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

            for (int round = 0; round <= settings.Rounds; round++)
            {
                Console.Error.WriteLine(round == 0 ? "warm-up" : $"round {round} of {settings.Rounds}");
                foreach (var load in Loads.Where(l => l.Name.Contains(settings.Load, StringComparison.Ordinal)))
                {
                    foreach (var broker in brokers)
                    {
                        // In turns, so that none is always the one that comes first.
                        var kinds = round % 2 == 0 ? load.Kinds : load.Kinds.Reverse();
                        foreach (var kind in kinds) Add(load, kind, broker, round == 0);
                    }
                }
            }
        }
        finally
        {
            brokers.ForEach(static broker => broker.Dispose());
        }

        Print();
    }

    private void Add(Load load, Kind kind, BrokerProcess broker, bool isWarmUp)
    {
        using var topic = new Topic(broker, $"transactions-{++_topics}", Partitions);
        var figures = Measure(load, kind, broker, topic);
        if (isWarmUp) return;
        if (!_figures.TryGetValue((load.Name, kind, broker.Target), out var list))
            _figures[(load.Name, kind, broker.Target)] = list = [];
        list.Add(figures);
        Console.Error.WriteLine(Text(
            $"  {load.Name,-32} {kind,-12} {broker.Target,-8} {figures.PerSecond,8:F0}/s ")
            + Text($"{figures.MegabytesPerSecond,8:F1} MB/s {figures.CpuUs,8:F0} us CPU"));
    }

    private Figures Measure(Load load, Kind kind, BrokerProcess broker, Topic topic)
    {
        var clients = Enumerable.Range(0, load.Producers)
            .Select(i => new Client(broker, topic, load, kind, i, settings.RecordBytes)).ToList();
        double cpu = ProcessUsage.CpuSeconds(broker.Id);
        var clock = Stopwatch.StartNew();
        DirectDriver.InThreads(load.Producers, i => clients[i].Run(clock, settings.Seconds));
        double seconds = clock.Elapsed.TotalSeconds;
        cpu = ProcessUsage.CpuSeconds(broker.Id) - cpu;
        clients.ForEach(static client => client.Dispose());
        return new Figures(
            clients.Sum(static c => c.Bytes),
            seconds,
            cpu,
            clients.Sum(static c => c.SentAgain),
            [.. clients.SelectMany(static c => c.LatenciesMs).Order()]);
    }

    private void Print()
    {
        Console.WriteLine("| load | kind | target | ends/s | MB/s | p50 ms | p99 ms | CPU us each | CPU s/GB | again "
            + "| rate to plain | CPU/GB to plain | rate to Kafka | CPU to Kafka |");
        Console.WriteLine("|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
        foreach (var ((load, kind, target), list) in _figures)
        {
            _figures.TryGetValue((load, Kind.Plain, target), out var plain);
            _figures.TryGetValue((load, kind, "kafka"), out var kafka);
            if (kind == Kind.Plain) plain = null;
            if (target == "kafka") kafka = null;
            Console.WriteLine(
                Text($"| {load} | {kind} | {target} | {Of(list, f => f.PerSecond):F0} ")
                + Text($"| {Of(list, f => f.MegabytesPerSecond):F1} | {Of(list, f => f.At(0.5)):F2} ")
                + Text($"| {Of(list, f => f.At(0.99)):F2} | {Of(list, f => f.CpuUs):F0} ")
                + Text($"| {Of(list, f => f.CpuPerGigabyte):F2} | {Of(list, f => f.SentAgain):F0} ")
                + $"| {Ratio(list, plain, f => f.MegabytesPerSecond)} | {Ratio(list, plain, f => f.CpuPerGigabyte)} "
                + $"| {Ratio(list, kafka, f => f.PerSecond)} | {Ratio(list, kafka, f => f.CpuUs)} |");
        }
    }

    private static string Ratio(List<Figures> list, List<Figures>? other, Func<Figures, double> figure) =>
        other is null
            ? ""
            : Text($"{Results.Median(list.Zip(other, (one, two) => figure(one) / figure(two))):F2}");

    private static double Of(List<Figures> list, Func<Figures, double> figure) => Results.Median(list.Select(figure));

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    /// <summary>What producers do.</summary>
    /// <param name="Name">Its name.</param>
    /// <param name="Producers">How many.</param>
    /// <param name="Requests">Produce requests of a transaction; 0 where there are none.</param>
    /// <param name="InFlight">Requests under way on a connection.</param>
    /// <param name="Kinds">What is compared.</param>
    private sealed record Load(string Name, int Producers, int Requests, int InFlight, Kind[] Kinds)
    {
        /// <summary>The frames of one producer: of a transaction, or to be sent in turns.</summary>
        internal List<ProducerFrame> Build(Topic topic, string? transactionalId, int producer, int[] recordBytes)
        {
            var random = new Random(producer);
            var (small, large) = (recordBytes[0], recordBytes[^1]);
            if (Requests == 1)
            {
                (int, int)[] ten = [(0, 3), (1, 3), (2, 2), (3, 2)];
                return [ProducerFrame.Build(topic.Id, transactionalId, ten, small, random)];
            }

            int records = Name.StartsWith("single", StringComparison.Ordinal) ? 1
                : (Requests > 0 ? 64 : 16) * 1024 / (large + 10);
            return [.. Enumerable.Range(0, 16).Select(i => ProducerFrame.Build(
                topic.Id, transactionalId, [((producer + i) % Partitions, records)], large, random))];
        }
    }

    /// <summary>One producer.</summary>
    private sealed class Client : IDisposable
    {
        private readonly ProtocolConnection _connection;
        private readonly TransactionWire _wire;
        private readonly Load _load;
        private readonly Kind _kind;
        private readonly List<ProducerFrame> _frames;
        private int[] _sequences = new int[Partitions];

        internal Client(BrokerProcess broker, Topic topic, Load load, Kind kind, int index, int[] recordBytes)
        {
            _connection = broker.Connect();
            (_load, _kind) = (load, kind);
            string? id = kind == Kind.Transactions ? $"bench-{index}" : null;
            _wire = new TransactionWire(_connection, id);
            if (kind != Kind.Plain) _wire.Initialise();
            _frames = load.Build(topic, id, index, recordBytes);
        }

        internal long Bytes { get; private set; }

        internal int SentAgain { get; private set; }

        /// <summary>Of each transaction; of each request where there are none.</summary>
        internal List<double> LatenciesMs { get; } = [];

        public void Dispose() => _connection.Dispose();

        internal void Run(Stopwatch clock, int seconds)
        {
            if (_load.Requests == 0)
            {
                Stream(clock, seconds);
                return;
            }

            while (clock.Elapsed.TotalSeconds < seconds)
            {
                double began = clock.Elapsed.TotalMilliseconds;
                _sequences = new int[Partitions];
                Send([.. _frames]);
                if (_kind == Kind.Transactions) _wire.Commit();
                LatenciesMs.Add(clock.Elapsed.TotalMilliseconds - began);
                Bytes += _frames.Sum(static frame => frame.BatchBytes);
            }
        }

        /// <summary>Sends all requests of a transaction; those that were refused again, in their order.</summary>
        private void Send(List<ProducerFrame> frames)
        {
            foreach (var frame in frames) frame.Stamp(_wire.ProducerId, _wire.Epoch, _sequences);
            while (true)
            {
                var refused = new List<ProducerFrame>();
                int answered = 0;
                for (int sent = 0; answered < frames.Count;)
                {
                    if (sent < frames.Count && sent - answered < _load.InFlight)
                        _connection.Send(frames[sent++].Bytes);
                    else if (!Receive()) refused.Add(frames[answered++]);
                    else answered++;
                }

                if (refused.Count == 0) return;
                SentAgain += refused.Count;
                frames = refused;
                Thread.Sleep(TransactionWire.BackoffMs);
            }
        }

        private void Stream(Stopwatch clock, int seconds)
        {
            var sentAt = new Queue<(double At, int Bytes)>();
            int sent = 0;
            while (true)
            {
                if (clock.Elapsed.TotalSeconds < seconds && sentAt.Count < _load.InFlight)
                {
                    var frame = _frames[sent++ % _frames.Count];
                    frame.Stamp(_wire.ProducerId, _wire.Epoch, _sequences);
                    _connection.Send(frame.Bytes);
                    sentAt.Enqueue((clock.Elapsed.TotalMilliseconds, frame.BatchBytes));
                    continue;
                }

                if (sentAt.Count == 0) return;
                if (!Receive()) throw new InvalidOperationException("a batch outside of transactions was refused");
                var (at, bytes) = sentAt.Dequeue();
                LatenciesMs.Add(clock.Elapsed.TotalMilliseconds - at);
                Bytes += bytes;
            }
        }

        /// <summary>Receives an answer.</summary>
        /// <returns>False when the request is to be sent again.</returns>
        private bool Receive()
        {
            var answer = _connection.Receive<ProduceResponse>(ApiKey.Produce, ProducerFrame.ProduceVersion);
            bool isTaken = true;
            foreach (var partition in answer.Responses[0].PartitionResponses)
            {
                if (partition.ErrorCode == ErrorCode.None) continue;
                // What follows a batch that was refused is out of order.
                if (partition.ErrorCode is not (ErrorCode.ConcurrentTransactions or ErrorCode.OutOfOrderSequenceNumber))
                    throw new InvalidOperationException($"Produce: {partition.ErrorCode} {partition.ErrorMessage}");
                isTaken = false;
            }

            return isTaken;
        }
    }

    private sealed record Figures(
        long Bytes, double Seconds, double CpuSeconds, int SentAgain, List<double> LatenciesMs)
    {
        internal double PerSecond => LatenciesMs.Count / Seconds;

        internal double MegabytesPerSecond => Bytes / 1e6 / Seconds;

        internal double CpuUs => CpuSeconds * 1e6 / LatenciesMs.Count;

        internal double CpuPerGigabyte => CpuSeconds * 1e9 / Bytes;

        internal double At(double share) => LatenciesMs[(int)(share * (LatenciesMs.Count - 1))];
    }
}
