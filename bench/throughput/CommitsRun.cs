using System.Diagnostics;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Throughput;

/// <summary>
/// Offset commits per second: many committers, each a connection and a group of its own that waits for every answer;
/// an answer means acks=all (KBroker: on stable storage; Apache Kafka with one replica: in the page cache).
/// </summary>
internal sealed class CommitsRun(Settings settings)
{
    private const int PartitionsCount = 16;
    private static readonly int[] Committers = [1, 16, 128];

    private readonly Dictionary<(string Target, int Committers), List<Figures>> _figures = [];

    internal void Run()
    {
        var brokers = settings.Brokers().Select(target => new BrokerProcess(settings, target)).ToList();
        try
        {
            foreach (var broker in brokers)
            {
                broker.Format();
                broker.Start();
                using var connection = broker.Connect();
                _ = new Topic(broker, "committed", PartitionsCount);
                connection.Call<FindCoordinatorResponse>(new FindCoordinatorRequest { CoordinatorKeys = ["g"] }, 4);
                OffsetWire.WaitFor(connection, ["g"]);
            }

            for (var round = 0; round <= settings.Rounds; round++)
            {
                foreach (var committers in Committers)
                {
                    foreach (var broker in brokers) Measure(broker, committers, warmUp: round == 0);
                }
            }
        }
        finally
        {
            brokers.ForEach(static broker => broker.Dispose());
        }

        Print();
    }

    private void Measure(BrokerProcess broker, int committers, bool warmUp)
    {
        var groups = Enumerable.Range(0, committers).Select(static i => $"committer-{i}").ToList();
        var connections = groups.ConvertAll(_ => broker.Connect());
        OffsetWire.WaitFor(connections[0], groups);
        var latencies = new List<double>[committers];
        var cpu = ProcessUsage.CpuSeconds(broker.Id);
        var clock = Stopwatch.StartNew();
        var threads = groups.Select((group, index) => new Thread(() =>
        {
            var frame = ProtocolConnection.Frame(
                OffsetWire.Commit(group, "committed", 1, index), OffsetWire.CommitVersion);
            var mine = latencies[index] = [];
            while (clock.Elapsed.TotalSeconds < settings.Seconds)
            {
                var began = Stopwatch.GetTimestamp();
                connections[index].Send(frame);
                OffsetWire.Check(connections[index].Receive<OffsetCommitResponse>(
                    ApiKey.OffsetCommit, OffsetWire.CommitVersion));
                mine.Add(Stopwatch.GetElapsedTime(began).TotalMilliseconds);
            }
        })).ToList();
        threads.ForEach(static thread => thread.Start());
        threads.ForEach(static thread => thread.Join());
        var seconds = clock.Elapsed.TotalSeconds;
        cpu = ProcessUsage.CpuSeconds(broker.Id) - cpu;
        connections.ForEach(static connection => connection.Dispose());
        if (warmUp) return;
        var all = latencies.SelectMany(static one => one).Order().ToList();
        if (!_figures.TryGetValue((broker.Target, committers), out var rounds))
            _figures[(broker.Target, committers)] = rounds = [];
        rounds.Add(new Figures(
            all.Count / seconds, all[all.Count / 2], all[(int)(all.Count * 0.99)], cpu * 1e6 / all.Count));
    }

    private void Print()
    {
        Console.WriteLine("| committers | target | commits/s | p50 ms | p99 ms | CPU us a commit |");
        Console.WriteLine("|--:|---|--:|--:|--:|--:|");
        foreach (var ((target, committers), rounds) in _figures.OrderBy(static pair => pair.Key.Committers))
        {
            Console.WriteLine(FormattableString.Invariant(
                $"| {committers} | {target} | {Results.Median(rounds.Select(static r => r.PerSecond)):F0} ")
                + FormattableString.Invariant($"| {Results.Median(rounds.Select(static r => r.P50Ms)):F2} ")
                + FormattableString.Invariant($"| {Results.Median(rounds.Select(static r => r.P99Ms)):F2} ")
                + FormattableString.Invariant($"| {Results.Median(rounds.Select(static r => r.CpuUs)):F0} |"));
        }
    }

    private readonly record struct Figures(double PerSecond, double P50Ms, double P99Ms, double CpuUs);
}
