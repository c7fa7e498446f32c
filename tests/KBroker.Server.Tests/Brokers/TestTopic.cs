using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;

namespace KBroker.Server.Tests.Brokers;

/// <summary>A topic on a test broker, and the requests that most tests need.</summary>
internal sealed class TestTopic(ProtocolClient client, string name, Uuid id)
{
    public string Name { get; } = name;

    public Uuid Id { get; } = id;

    public static async Task<TestTopic> CreateAsync(
        ProtocolClient client, string name, int partitions = 1, params (string Name, string Value)[] configs)
    {
        var response = await client.SendAsync<CreateTopicsResponse>(CreateRequest(name, partitions, configs));
        var created = Assert.Single(response.Topics);
        Assert.Equal((ErrorCode.None, created.ErrorMessage), (created.ErrorCode, created.ErrorMessage));
        var topic = new TestTopic(client, name, created.TopicId);
        if (TestBroker.OtherPort is not null)
            await topic.WaitUntilServedAsync(partitions);
        return topic;
    }

    /// <summary>Unlike KBroker, Kafka answers a creation before its broker serves the topic.</summary>
    private async Task WaitUntilServedAsync(int partitions)
    {
        for (var partition = 0; partition < partitions; partition++)
        {
            FetchResponse.PartitionData data;
            do
            {
                data = await FetchAsync(0, partition: partition);
            }
            while (data.ErrorCode != ErrorCode.None);
        }
    }

    public static CreateTopicsRequest CreateRequest(
        string name, int partitions = 1, params (string Name, string Value)[] configs) => new()
        {
            TimeoutMs = 30_000,
            Topics =
            [
                new()
                {
                    Name = name,
                    NumPartitions = partitions,
                    ReplicationFactor = 1,
                    Configs = [.. configs.Select(static c =>
                        new CreateTopicsRequest.CreatableTopicConfig { Name = c.Name, Value = c.Value })],
                },
            ],
        };

    /// <summary>A produce request for one partition; it names the topic and gives its id.</summary>
    public ProduceRequest ProduceRequest(ReadOnlyMemory<byte> records, short acks = -1, int partition = 0) => new()
    {
        Acks = acks,
        TimeoutMs = 30_000,
        TopicData =
        [
            new()
            {
                Name = Name,
                TopicId = Id,
                PartitionData = [new() { Index = partition, Records = new Records(records) }],
            },
        ],
    };

    public async Task<ProduceResponse.PartitionProduceResponse> ProduceAsync(
        ReadOnlyMemory<byte> records, short acks = -1, int partition = 0, short version = -1)
    {
        var response = await client.SendAsync<ProduceResponse>(ProduceRequest(records, acks, partition), version);
        return Assert.Single(Assert.Single(response.Responses).PartitionResponses);
    }

    /// <summary>Appends values, each with timestamp 1000 + its index; the base offset comes back.</summary>
    public async Task<long> ProduceAsync(params string[] values)
    {
        var answer = await ProduceAsync(Batches.Of(values));
        Assert.Equal(ErrorCode.None, answer.ErrorCode);
        return answer.BaseOffset;
    }

    /// <summary>A fetch request for one partition; it names the topic and gives its id.</summary>
    public FetchRequest FetchRequest(long offset, int maxWaitMs = 0, int partition = 0) => new()
    {
        MaxWaitMs = maxWaitMs,
        MinBytes = 1,
        MaxBytes = 1 << 20,
        Topics =
        [
            new()
            {
                Topic = Name,
                TopicId = Id,
                Partitions = [new() { Partition = partition, FetchOffset = offset, PartitionMaxBytes = 1 << 20 }],
            },
        ],
    };

    public async Task<FetchResponse.PartitionData> FetchAsync(
        long offset, int maxWaitMs = 0, int partition = 0, short version = -1)
    {
        var response = await client.SendAsync<FetchResponse>(FetchRequest(offset, maxWaitMs, partition), version);
        Assert.Equal(ErrorCode.None, response.ErrorCode);
        return Assert.Single(Assert.Single(response.Responses).Partitions);
    }
}

/// <summary>Record batches as clients send them, and the values of those that come back.</summary>
internal static class Batches
{
    public static byte[] Of(params string[] values) => Of(RecordBatchOptions.Default, values);

    public static byte[] Of(RecordBatchOptions options, params string[] values)
    {
        using var codecs = new CompressionCodecs();
        using var builder = new RecordBatchBuilder(options, codecs);
        for (var i = 0; i < values.Length; i++)
            builder.Append(1000 + i, default(ReadOnlyMemory<byte>?), System.Text.Encoding.UTF8.GetBytes(values[i]));
        return builder.Build().ToArray();
    }

    public static IReadOnlyList<(long Offset, string? Value)> Read(Records? records)
    {
        var found = new List<(long, string?)>();
        using var codecs = new CompressionCodecs();
        var bytes = new System.Buffers.ReadOnlySequence<byte>(records?.ToArray() ?? []);

        // A fetch may end inside a batch: the rest comes with the next one.
        while (RecordBatches.Inspect(bytes, out var header) == RecordBatchStatus.Whole)
        {
            using var reader = new RecordBatchReader(bytes.Slice(0, header.SizeInBytes), codecs, 1 << 24);
            while (reader.TryRead(out var record))
            {
                found.Add((record.Offset, record.Value is { } value
                    ? System.Text.Encoding.UTF8.GetString(value.Span) : null));
            }

            bytes = bytes.Slice(header.SizeInBytes);
        }

        return found;
    }

    public static IEnumerable<string?> Values(Records? records) => Read(records).Select(static r => r.Value);
}
