using System.Diagnostics;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Throughput.Delays;

/// <summary>Topics of one measurement with one partition each, or one with several; deleted with their data.</summary>
internal sealed class DelayTopics : IDisposable
{
    private const short ListOffsetsVersion = 7;
    private static readonly TimeSpan SettleInterval = TimeSpan.FromMilliseconds(100);
    private readonly BrokerProcess _broker;

    /// <param name="broker">Where they are made.</param>
    /// <param name="name">What their names begin with.</param>
    /// <param name="topics">How many.</param>
    /// <param name="partitions">Partitions of each.</param>
    /// <param name="isDelaying">Whether they opt in to delays.</param>
    internal DelayTopics(BrokerProcess broker, string name, int topics, int partitions, bool isDelaying)
    {
        _broker = broker;
        Dictionary<string, string> configs = isDelaying ? new() { ["kbroker.delay.enable"] = "true" } : [];
        // The dash behind the number keeps one name from being the beginning of another.
        All = [.. Enumerable.Range(0, topics).Select(i => new Topic(broker, $"{name}-{i}-", partitions, configs))];
        Places = [.. All.SelectMany(topic => Enumerable.Range(0, partitions).Select(p => new Place(topic, p)))];
    }

    /// <summary>A partition.</summary>
    internal readonly record struct Place(Topic Topic, int Partition);

    internal List<Topic> All { get; }

    internal List<Place> Places { get; }

    /// <summary>The end offset of each place; null while one of them cannot tell.</summary>
    internal List<long>? TryEndOffsets(ProtocolConnection connection)
    {
        var request = new ListOffsetsRequest { ReplicaId = -1 };
        foreach (var topic in All)
        {
            var asked = new ListOffsetsRequest.ListOffsetsTopic { Name = topic.Name };
            for (int partition = 0; partition < topic.Partitions; partition++)
                asked.Partitions.Add(new() { PartitionIndex = partition, Timestamp = -1 });
            request.Topics.Add(asked);
        }

        var answer = connection.Call<ListOffsetsResponse>(request, ListOffsetsVersion)
            .Topics.ToDictionary(static topic => topic.Name);
        var partitions = All.SelectMany(topic => answer[topic.Name].Partitions.OrderBy(p => p.PartitionIndex)).ToList();
        return partitions.Exists(p => p.ErrorCode != ErrorCode.None) ? null : [.. partitions.Select(p => p.Offset)];
    }

    /// <summary>The end offsets of all places together.</summary>
    internal long CountRecords(ProtocolConnection connection) =>
        TryEndOffsets(connection)?.Sum() ?? throw new InvalidOperationException("ListOffsets failed");

    /// <summary>Waits until the broker takes next to no processor time.</summary>
    internal void Settle()
    {
        var limit = Stopwatch.StartNew();
        for (int quiet = 0; quiet < 10 && limit.Elapsed < TimeSpan.FromSeconds(60);)
        {
            double before = ProcessUsage.CpuSeconds(_broker.Id);
            Thread.Sleep(SettleInterval);
            double share = (ProcessUsage.CpuSeconds(_broker.Id) - before) / SettleInterval.TotalSeconds;
            quiet = share < 0.1 ? quiet + 1 : 0;
        }
    }

    public void Dispose() => All.ForEach(static topic => topic.Dispose());
}
