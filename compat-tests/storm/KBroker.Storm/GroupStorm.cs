using System.Globalization;
using Confluent.Kafka;
using KBroker.Compat.Harness;
using KBroker.Storm.History;
using KBroker.Storm.Members;
using KBroker.Storm.Workers;

namespace KBroker.Storm;

/// <summary>
/// The storm over one group: members join, leave and are killed with their process at random; then it is calm, all
/// members are there, and the history must be sound.
/// </summary>
internal sealed class GroupStorm(StormOptions options, string bootstrap, string protocol, TextWriter output)
{
    private const int SessionTimeoutMs = 10_000;
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(150);
    private static readonly TimeSpan CalmLimit = TimeSpan.FromMinutes(3);
    private readonly Random _random = new(options.Seed);
    private readonly GroupHistory _history = new();
    private readonly string _group = $"storm-{protocol}";
    private readonly string _topic = $"storm-{protocol}";
    private readonly Dictionary<string, int> _counts = new() { ["joins"] = 0, ["leaves"] = 0, ["kills"] = 0 };
    private List<WorkerProcess> _workers = [];

    /// <summary>Runs it; the topic is there, and empty.</summary>
    /// <returns>What is wrong; empty when nothing is.</returns>
    public async Task<List<string>> RunAsync()
    {
        using var feed = new Feed(bootstrap, _topic, options.Partitions);
        _workers = [.. Enumerable.Range(0, options.Processes).Select(_ => new WorkerProcess(_history))];
        try
        {
            for (var i = 0; i < options.Members; i++)
                Join(_workers[i % _workers.Count]);
            var started = TimeProvider.System.GetTimestamp();
            while (TimeProvider.System.GetElapsedTime(started) < options.Storm)
            {
                await BlowAsync();
                // The pace of the storm, not a wait for anything.
                await Task.Delay(Pause);
            }

            while (Members() < options.Members)
                Join(_workers.MinBy(static w => w.Members.Count)!);
            var ends = await feed.FinishAsync();
            var calm = await CalmAsync(ends);
            return Judge(ends, calm);
        }
        finally
        {
            await Task.WhenAll(_workers.Select(static w => w.DisposeAsync().AsTask()));
        }
    }

    private int Members() => _workers.Sum(static w => w.Members.Count);

    private void Join(WorkerProcess worker)
    {
        var number = ++_counts["joins"];
        var consumer = protocol == "consumer" || (protocol == "mixed" && _random.Next(2) == 0);
        worker.Join(new MemberSettings
        {
            Name = string.Create(CultureInfo.InvariantCulture, $"m{number}"),
            Bootstrap = bootstrap,
            Group = _group,
            Topic = _topic,
            Protocol = consumer ? GroupProtocol.Consumer : GroupProtocol.Classic,
            Strategy = protocol == "cooperative"
                ? PartitionAssignmentStrategy.CooperativeSticky
                : PartitionAssignmentStrategy.RoundRobin,
            SessionTimeoutMs = SessionTimeoutMs,
        });
    }

    /// <summary>One thing happens.</summary>
    private async Task BlowAsync()
    {
        var worker = _workers[_random.Next(_workers.Count)];
        switch (_random.Next(100))
        {
            case < 4:
                _counts["kills"]++;
                await worker.KillAsync();
                await worker.DisposeAsync();
                _workers.Remove(worker);
                _workers.Add(new WorkerProcess(_history));
                break;
            case < 45 when worker.Members.Count > 0:
                var members = worker.Members;
                worker.Leave(members[_random.Next(members.Count)]);
                _counts["leaves"]++;
                break;
            default:
                if (Members() < options.Members)
                    Join(_workers.MinBy(static w => w.Members.Count)!);
                break;
        }
    }

    /// <summary>Waits until everybody is there, everything is owned once, and everything is committed.</summary>
    /// <returns>What did not come; null when it all did.</returns>
    private async Task<string?> CalmAsync(Dictionary<(string, int), long> ends)
    {
        try
        {
            await Poll.UntilAsync(
                $"{options.Partitions} partitions owned, each once, by {options.Members} members",
                () => _history.IsShared(_topic, options.Partitions, options.Members), CalmLimit);
            await Poll.UntilAsync(
                "everything is committed",
                () => Committed() is var committed && ends.All(e => committed.GetValueOrDefault(e.Key) == e.Value), CalmLimit);
            await Poll.UntilAsync($"the coordinator says stable, {options.Members} members", IsStableAsync, CalmLimit);
            return null;
        }
        catch (TimeoutException problem)
        {
            var owned = _history.Owned;
            return $"{problem.Message}; {owned.Count} members own {owned.Values.Sum(static o => o.Count)}, {Members()} are there";
        }
    }

    private List<string> Judge(Dictionary<(string Topic, int Partition), long> ends, string? calm)
    {
        var events = _history.Events;
        List<string> problems = calm is null ? [] : [calm];
        problems.AddRange(GroupCheck.All(events));
        problems.AddRange(GroupCheck.CommitsLost(events, Committed()));
        problems.AddRange(GroupCheck.NotProcessed(events, ends));
        int Count(EventKind kind) => events.Count(e => e.Kind == kind);
        output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{protocol}: {_counts["joins"]} joins, {_counts["leaves"]} leaves, {_counts["kills"]} processes killed; "
            + $"{Count(EventKind.Assigned)} assignments, {Count(EventKind.Revoked)} revocations, {Count(EventKind.Lost)} lost, "
            + $"{Count(EventKind.Failed)} failed; {Count(EventKind.Committed)} commits, {Count(EventKind.Refused)} refused; "
            + $"{ends.Values.Sum()} records; {problems.Count} problems"));
        if (problems.Count > 0)
        {
            var file = Path.Combine(Path.GetTempPath(), $"{_group}-{options.Seed}.history");
            File.WriteAllLines(file, events.Select(static e => e.ToString()));
            output.WriteLine($"the history: {file}");
        }

        return problems;
    }

    private Dictionary<(string Topic, int Partition), long> Committed() =>
        GroupOffsets.Committed(bootstrap, _group, _topic, options.Partitions);

    private async Task<bool> IsStableAsync()
    {
        using var admin = new AdminClientBuilder(new AdminClientConfig { BootstrapServers = bootstrap })
            .SetLogHandler(static (_, _) => { }).Build();
        var group = (await admin.DescribeConsumerGroupsAsync([_group])).ConsumerGroupDescriptions[0];
        return group.State is ConsumerGroupState.Stable && group.Members.Count == options.Members;
    }
}
