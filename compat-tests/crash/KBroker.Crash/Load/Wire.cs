using System.Diagnostics;
using System.Text;
using KBroker.Crash.History;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;
using KBroker.Throughput;

namespace KBroker.Crash.Load;

/// <summary>An answer with an error.</summary>
internal sealed class WireException(ErrorCode error, string what) : Exception($"{what}: {error}")
{
    public ErrorCode Error => error;
}

/// <summary>
/// The requests that need control: every one is answered or fails at once with its connection, nothing is sent twice.
/// </summary>
internal sealed class Wire(int port) : IDisposable
{
    private const int FetchBytes = 1 << 20;
    private const int TimeoutMs = 20_000;
    private const long Earliest = -2;
    private const long Latest = -1;
    private const sbyte TopicResource = 2;
    private readonly ProtocolConnection _connection = new(port, FetchBytes, TimeoutMs);
    private readonly CompressionCodecs _codecs = new();

    /// <summary>Whether a topic exists.</summary>
    public bool Exists(string topic) => Call<MetadataResponse>(
        new MetadataRequest { Topics = [new() { Name = topic }], AllowAutoTopicCreation = false }, 9)
        .Topics[0].ErrorCode switch
    {
        ErrorCode.None or ErrorCode.LeaderNotAvailable => true,
        ErrorCode.UnknownTopicOrPartition => false,
        var error => throw new WireException(error, $"Metadata of {topic}"),
    };

    public void Create(string topic, int partitions, Dictionary<string, string> configs)
    {
        var answer = Call<CreateTopicsResponse>(
            new CreateTopicsRequest
            {
                Topics =
                [
                    new()
                    {
                        Name = topic,
                        NumPartitions = partitions,
                        ReplicationFactor = 1,
                        Configs = [.. configs.Select(c =>
                            new CreateTopicsRequest.CreatableTopicConfig { Name = c.Key, Value = c.Value })],
                    },
                ],
                TimeoutMs = TimeoutMs,
            },
            5);
        Throw(answer.Topics[0].ErrorCode, $"CreateTopics {topic} {answer.Topics[0].ErrorMessage}");
    }

    public void Delete(string topic) => Throw(
        Call<DeleteTopicsResponse>(new DeleteTopicsRequest { TopicNames = [topic], TimeoutMs = TimeoutMs }, 5)
            .Responses[0].ErrorCode,
        $"DeleteTopics {topic}");

    public void SetConfig(string topic, string name, string value) => Throw(
        Call<IncrementalAlterConfigsResponse>(
            new IncrementalAlterConfigsRequest
            {
                Resources =
                [
                    new() { ResourceType = TopicResource, ResourceName = topic, Configs = [new() { Name = name, Value = value }] },
                ],
            },
            1).Responses[0].ErrorCode,
        $"IncrementalAlterConfigs {topic}");

    public string? GetConfig(string topic, string name)
    {
        var result = Call<DescribeConfigsResponse>(
            new DescribeConfigsRequest
            {
                Resources =
                [
                    new() { ResourceType = TopicResource, ResourceName = topic, ConfigurationKeys = [name] },
                ],
            },
            4).Results[0];
        Throw(result.ErrorCode, $"DescribeConfigs {topic}");
        return result.Configs[0].Value;
    }

    /// <summary>Asks for a replica to be moved to another log directory; the move goes on by itself.</summary>
    public void Move(string topic, int partition, string directory) => Throw(
        Call<AlterReplicaLogDirsResponse>(
            new AlterReplicaLogDirsRequest
            {
                Dirs = [new() { Path = directory, Topics = [new() { Name = topic, Partitions = [partition] }] }],
            },
            1).Results[0].Partitions[0].ErrorCode,
        $"AlterReplicaLogDirs {topic}-{partition} to {directory}");

    /// <summary>DeleteRecords; the new low watermark comes back.</summary>
    public long DeleteRecords(string topic, int partition, long offset)
    {
        var result = Call<DeleteRecordsResponse>(
            new DeleteRecordsRequest
            {
                Topics = [new() { Name = topic, Partitions = [new() { PartitionIndex = partition, Offset = offset }] }],
                TimeoutMs = TimeoutMs,
            },
            2).Topics[0].Partitions[0];
        Throw(result.ErrorCode, $"DeleteRecords {topic}-{partition} {offset}");
        return result.LowWatermark;
    }

    /// <summary>Produces a batch with acks=all; its first offset comes back.</summary>
    public long Produce(string topic, int partition, IReadOnlyList<RecordId> records)
    {
        using var builder = new RecordBatchBuilder(RecordBatchOptions.Default);
        foreach (var record in records)
            builder.Append(TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds(), null, record.ToValue());
        var answer = Call<ProduceResponse>(
            new ProduceRequest
            {
                Acks = -1,
                TimeoutMs = TimeoutMs,
                TopicData =
                [
                    new()
                    {
                        Name = topic,
                        PartitionData = [new() { Index = partition, Records = new Records(builder.Build()) }],
                    },
                ],
            },
            11).Responses[0].PartitionResponses[0];
        Throw(answer.ErrorCode, $"Produce {topic}-{partition} {answer.ErrorMessage}");
        return answer.BaseOffset;
    }

    /// <summary>Reads a partition from its start to the end that it has now.</summary>
    public Observation ReadAll(string topic, int partition)
    {
        var began = Stopwatch.GetTimestamp();
        var start = Offset(topic, partition, Earliest);
        var end = Offset(topic, partition, Latest);
        var records = new List<FoundRecord>();
        for (var next = start; next < end;)
        {
            var data = Call<FetchResponse>(FetchFrom(topic, partition, next), 11).Responses[0].Partitions[0];
            if (data.ErrorCode == ErrorCode.OffsetOutOfRange)
            {
                // Retention was quicker.
                var moved = Offset(topic, partition, Earliest);
                if (moved <= next)
                    throw new WireException(data.ErrorCode, $"Fetch {topic}-{partition} at {next}, start {moved}");
                next = moved;
                continue;
            }

            Throw(data.ErrorCode, $"Fetch {topic}-{partition} at {next}");
            var before = next;
            next = Collect(data.Records ?? Records.Empty, next, end, records);
            if (next == before)
                throw new InvalidDataException($"{topic}-{partition}: nothing is read at {next}, the end is {end}");
        }

        var startAfter = Offset(topic, partition, Earliest);
        return new Observation(start, startAfter, end, records) { Took = Stopwatch.GetElapsedTime(began) };
    }

    public void Dispose()
    {
        _connection.Dispose();
        _codecs.Dispose();
    }

    private long Offset(string topic, int partition, long timestamp)
    {
        var result = Call<ListOffsetsResponse>(
            new ListOffsetsRequest
            {
                ReplicaId = -1,
                Topics =
                [
                    new() { Name = topic, Partitions = [new() { PartitionIndex = partition, Timestamp = timestamp }] },
                ],
            },
            5).Topics[0].Partitions[0];
        Throw(result.ErrorCode, $"ListOffsets {topic}-{partition}");
        return result.Offset;
    }

    private static FetchRequest FetchFrom(string topic, int partition, long offset) => new()
    {
        MaxWaitMs = 100,
        MinBytes = 1,
        MaxBytes = FetchBytes,
        Topics =
        [
            new()
            {
                Topic = topic,
                Partitions = [new() { Partition = partition, FetchOffset = offset, PartitionMaxBytes = FetchBytes }],
            },
        ],
    };

    private long Collect(Records records, long next, long end, List<FoundRecord> found)
    {
        if (!records.TryGetBytes(out var bytes))
            throw new InvalidDataException("received records are in memory");
        // The last batch may be cut off; it comes with the next fetch.
        while (RecordBatches.Inspect(bytes, out var header) == RecordBatchStatus.Whole)
        {
            RecordBatches.EnsureValidCrc(bytes.Slice(0, header.SizeInBytes));
            using var reader = new RecordBatchReader(bytes.Slice(0, header.SizeInBytes), _codecs, 1 << 24);
            while (!header.IsControl && reader.TryRead(out var record))
            {
                if (record.Offset >= next && record.Offset < end)
                    found.Add(Found(record));
            }

            next = Math.Max(next, header.NextOffset);
            bytes = bytes.Slice(header.SizeInBytes);
        }

        return Math.Min(next, end);
    }

    private static FoundRecord Found(in Record record)
    {
        var key = record.Key is { } bytes ? Encoding.UTF8.GetString(bytes.Span) : null;
        if (record.Value is { } value)
            return new FoundRecord(record.Offset, RecordId.FromValue(value.Span), key);
        RecordId? id = null;
        foreach (var header in record.Headers)
            id = RecordId.FromValue(header.Value.GetValueOrDefault().Span);
        return new FoundRecord(record.Offset, id, key, IsTombstone: true);
    }

    private T Call<T>(IRequestMessage request, short version)
        where T : IMessage<T> => _connection.Call<T>(request, version);

    private static void Throw(ErrorCode error, string what)
    {
        if (error != ErrorCode.None)
            throw new WireException(error, what);
    }
}
