using System.Diagnostics;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Throughput;

/// <summary>Committed offsets of simple consumers, as both coordinator runs need them.</summary>
internal static class OffsetWire
{
    internal const short CommitVersion = 9;
    private const short FetchVersion = 8;
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(90);

    /// <summary>A request that commits one offset for each of a topic's first partitions.</summary>
    internal static OffsetCommitRequest Commit(string group, string topic, int partitions, long offset) => new()
    {
        GroupId = group,
        Topics =
        [
            new()
            {
                Name = topic,
                Partitions = [.. Enumerable.Range(0, partitions).Select(index =>
                    new OffsetCommitRequest.OffsetCommitRequestPartition
                    {
                        PartitionIndex = index, CommittedOffset = offset, CommittedMetadata = "",
                    })],
            },
        ],
    };

    /// <summary>Throws when a partition of an answer has an error.</summary>
    internal static void Check(OffsetCommitResponse response)
    {
        foreach (var topic in response.Topics)
        {
            foreach (var partition in topic.Partitions)
            {
                if (partition.ErrorCode != ErrorCode.None)
                    throw new InvalidOperationException($"OffsetCommit: {partition.ErrorCode}");
            }
        }
    }

    /// <summary>Waits until the coordinators of all groups answer.</summary>
    /// <returns>How many offsets they have.</returns>
    internal static int WaitFor(ProtocolConnection connection, IReadOnlyList<string> groups)
    {
        var clock = Stopwatch.StartNew();
        var offsets = 0;
        foreach (var group in groups)
        {
            while (true)
            {
                var answer = connection.Call<OffsetFetchResponse>(
                    new OffsetFetchRequest { Groups = [new() { GroupId = group, Topics = null }] }, FetchVersion);
                var found = answer.Groups[0];
                if (found.ErrorCode == ErrorCode.None)
                {
                    offsets += found.Topics.Sum(static topic => topic.Partitions.Count);
                    break;
                }

                if (clock.Elapsed > Limit) throw new InvalidOperationException($"OffsetFetch: {found.ErrorCode}");
                connection.Call<FindCoordinatorResponse>(
                    new FindCoordinatorRequest { CoordinatorKeys = [group] }, 4);
                Thread.Sleep(1);
            }
        }

        return offsets;
    }
}
