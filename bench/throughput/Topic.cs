using System.Diagnostics;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Throughput;

/// <summary>A topic of one measurement: created for it, and deleted with its data.</summary>
internal sealed class Topic : IDisposable
{
    private const short CreateTopicsVersion = 7;
    private const short DeleteTopicsVersion = 6;
    private const short ListOffsetsVersion = 7;
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(90);
    private readonly BrokerProcess _broker;

    internal Topic(
        BrokerProcess broker, string name, int partitions, IEnumerable<KeyValuePair<string, string>>? configs = null)
    {
        _broker = broker;
        Name = name;
        Partitions = partitions;
        using var connection = broker.Connect();
        var request = new CreateTopicsRequest
        {
            Topics =
            [
                new()
                {
                    Name = name,
                    NumPartitions = partitions,
                    ReplicationFactor = 1,
                    Configs = [.. (configs ?? []).Select(c => new CreateTopicsRequest.CreatableTopicConfig
                    {
                        Name = c.Key,
                        Value = c.Value,
                    })],
                },
            ],
            TimeoutMs = 30_000,
        };
        var result = connection.Call<CreateTopicsResponse>(request, CreateTopicsVersion).Topics[0];
        if (result.ErrorCode != ErrorCode.None)
            throw new InvalidOperationException($"CreateTopics: {result.ErrorCode} {result.ErrorMessage}");
        Id = result.TopicId;
        Until(() => EndOffsets(connection) is not null, "the partitions have no leader");
    }

    internal string Name { get; }

    internal Uuid Id { get; }

    internal int Partitions { get; }

    /// <summary>The records of all partitions together.</summary>
    internal long CountRecords()
    {
        return EndOffsets().Sum();
    }

    /// <summary>The end offset of each partition.</summary>
    internal List<long> EndOffsets()
    {
        using var connection = _broker.Connect();
        return EndOffsets(connection) ?? throw new InvalidOperationException("ListOffsets failed");
    }

    /// <summary>The end offset of each partition; null while one of them cannot tell.</summary>
    internal List<long>? TryEndOffsets()
    {
        using var connection = _broker.Connect();
        return EndOffsets(connection);
    }

    /// <summary>Deletes the topic and waits until its files are gone.</summary>
    public void Dispose()
    {
        using var connection = _broker.Connect();
        var request = new DeleteTopicsRequest { Topics = [new() { Name = Name }], TimeoutMs = 30_000 };
        connection.Call<DeleteTopicsResponse>(request, DeleteTopicsVersion);
        Until(
            () => Directory.GetDirectories(_broker.DataFolder, Name + "*").Length == 0,
            "the deleted topic's files stay");
    }

    private static void Until(Func<bool> condition, string otherwise)
    {
        var waiting = Stopwatch.StartNew();
        while (!condition())
        {
            if (waiting.Elapsed > Limit) throw new TimeoutException(otherwise);
            Thread.Sleep(10);
        }
    }

    private List<long>? EndOffsets(ProtocolConnection connection)
    {
        var request = new ListOffsetsRequest { ReplicaId = -1, Topics = [new() { Name = Name }] };
        for (int partition = 0; partition < Partitions; partition++)
            request.Topics[0].Partitions.Add(new() { PartitionIndex = partition, Timestamp = -1 });
        var answers = connection.Call<ListOffsetsResponse>(request, ListOffsetsVersion).Topics[0].Partitions;
        return answers.Exists(p => p.ErrorCode != ErrorCode.None)
            ? null
            : [.. answers.OrderBy(p => p.PartitionIndex).Select(p => p.Offset)];
    }
}
