using System.Diagnostics;

namespace KBroker.Throughput;

/// <summary>
/// What members of groups cost the coordinator, in both protocols: processor time of a heartbeat and memory of a member
/// with 10,000 of them, and how long a rebalance of 100 takes. The brokers run at once and are measured in turns.
/// </summary>
internal sealed class GroupsRun(Settings settings)
{
    private static readonly string[] Overrides =
    [
        "group.initial.rebalance.delay.ms=100",
        "group.max.session.timeout.ms=1800000",
        "group.consumer.session.timeout.ms=600000",
        "group.consumer.max.session.timeout.ms=600000",
        // The time of a rebalance shall be the broker's work, not the wait that bundles changes.
        "group.consumer.assignment.interval.ms=0",
    ];

    internal void Run()
    {
        var with = settings with { Overrides = [.. Overrides, .. settings.Overrides] };
        BrokerProcess[] brokers = [.. settings.Brokers().Select(target => new BrokerProcess(with, target))];
        try
        {
            foreach (var broker in brokers)
            {
                broker.Format();
                broker.Start();
            }

            if (settings.Load is "" or "heartbeats") Heartbeats(brokers);
            if (settings.Load is "" or "rebalance") Rebalances(brokers);
        }
        finally
        {
            foreach (var broker in brokers) broker.Dispose();
        }
    }

    private void Heartbeats(BrokerProcess[] brokers)
    {
        Console.WriteLine(
            "| protocol | target | members | join s | broker CPU s of it | heartbeats/s | broker CPU us a heartbeat "
            + "| CPU idle | anonymous KB a member |");
        Console.WriteLine("|---|---|--:|--:|--:|--:|--:|--:|--:|");
        foreach (bool classic in new[] { true, false })
        {
            var groups = new List<(BrokerProcess Broker, GroupHeartbeats Members, string Joined, double Kilobytes)>();
            foreach (var broker in brokers) groups.Add(Join(broker, classic));
            var costs = brokers.ToDictionary(static b => b.Target, static _ => new List<double>());
            var rates = brokers.ToDictionary(static b => b.Target, static _ => new List<double>());
            for (int round = 0; round <= settings.Rounds; round++)
            {
                foreach (var (broker, members, _, _) in groups)
                {
                    var clock = Stopwatch.StartNew();
                    double before = ProcessUsage.CpuSeconds(broker.Id);
                    long count = members.BeatFor(TimeSpan.FromSeconds(settings.Seconds), classic);
                    double cpu = ProcessUsage.CpuSeconds(broker.Id) - before;
                    // The first round warms up.
                    if (round == 0) continue;
                    costs[broker.Target].Add(cpu * 1e6 / count);
                    rates[broker.Target].Add(count / clock.Elapsed.TotalSeconds);
                }
            }

            foreach (var (broker, members, joined, kilobytes) in groups)
            {
                double idle = IdleCpu(broker);
                Console.WriteLine(FormattableString.Invariant(
                    $"| {Protocol(classic)} | {broker.Target} | {members.Members} | {joined} ")
                    + FormattableString.Invariant($"| {Results.Median(rates[broker.Target]):F0} ")
                    + FormattableString.Invariant($"| {Results.Median(costs[broker.Target]):F1} | {idle:F4} s/s ")
                    + FormattableString.Invariant($"| {kilobytes:F1} |"));
                members.Dispose();
            }

            PrintRatio($"{Protocol(classic)}: CPU of a heartbeat", costs);
        }
    }

    /// <summary>Lets all members join one broker, and sees what that takes.</summary>
    private (BrokerProcess Broker, GroupHeartbeats Members, string Joined, double Kilobytes) Join(
        BrokerProcess broker, bool classic)
    {
        var members = new GroupHeartbeats(broker, settings.Members, $"beat-{Protocol(classic)}");
        double memory = ProcessUsage.Megabytes(broker.Id, "RssAnon"), cpu = ProcessUsage.CpuSeconds(broker.Id);
        var clock = Stopwatch.StartNew();
        if (classic) members.JoinClassic();
        else members.JoinConsumer();
        double seconds = clock.Elapsed.TotalSeconds;
        cpu = ProcessUsage.CpuSeconds(broker.Id) - cpu;
        double kilobytes = (ProcessUsage.Megabytes(broker.Id, "RssAnon") - memory) * 1000 / members.Members;
        return (broker, members, FormattableString.Invariant($"{seconds:F1} | {cpu:F1}"), kilobytes);
    }

    private void Rebalances(BrokerProcess[] brokers)
    {
        const int Members = 100;
        Console.WriteLine();
        Console.WriteLine(
            "| protocol | target | members | ms from the last join until all have a share (least, most) |");
        Console.WriteLine("|---|---|--:|--:|");
        foreach (bool classic in new[] { true, false })
        {
            var groups = brokers.Select(b => (Broker: b, Group: new GroupRebalance(b, Members, classic))).ToList();
            var times = brokers.ToDictionary(static b => b.Target, static _ => new List<double>());
            for (int round = 0; round <= settings.Rounds; round++)
            {
                foreach (var (broker, group) in groups)
                {
                    double time = group.JoinOnce();
                    if (round > 0) times[broker.Target].Add(time);
                }
            }

            foreach (var (broker, group) in groups)
            {
                var list = times[broker.Target];
                Console.WriteLine(FormattableString.Invariant(
                    $"| {Protocol(classic)} | {broker.Target} | {Members} | {Results.Median(list):F0} ")
                    + FormattableString.Invariant($"({list.Min():F0}, {list.Max():F0}) |"));
                group.Dispose();
            }

            PrintRatio($"{Protocol(classic)}: time of a rebalance", times);
        }
    }

    private static string Protocol(bool classic) => classic ? "classic" : "consumer";

    /// <summary>Processor seconds a second while nobody beats.</summary>
    private static double IdleCpu(BrokerProcess broker)
    {
        double before = ProcessUsage.CpuSeconds(broker.Id);
        var clock = Stopwatch.StartNew();
        Thread.Sleep(2000);
        return (ProcessUsage.CpuSeconds(broker.Id) - before) / clock.Elapsed.TotalSeconds;
    }

    private static void PrintRatio(string what, Dictionary<string, List<double>> all)
    {
        if (all.TryGetValue("kbroker", out var ours) && all.TryGetValue("kafka", out var theirs))
        {
            double ratio = Results.Median(ours.Zip(theirs, static (one, other) => one / other));
            Console.WriteLine(FormattableString.Invariant($"\n{what}, kbroker : kafka = {ratio:F2}\n"));
        }
    }
}
