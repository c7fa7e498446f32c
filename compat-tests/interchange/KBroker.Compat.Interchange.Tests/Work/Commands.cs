using KBroker.Compat.Harness;
using KBroker.Compat.Interchange.Tests.Wire;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;

namespace KBroker.Compat.Interchange.Tests.Work;

/// <summary>A topic by name and id.</summary>
internal sealed record Topic(string Name, Uuid Id);

/// <summary>
/// What a client does to a broker, each as one call that fails the test when it is refused. Errors that say "not yet",
/// as after the creation of a topic, are waited out.
/// </summary>
internal sealed class Commands(WireClient client)
{
    private static readonly HashSet<ErrorCode> NotYet =
    [
        ErrorCode.NotLeaderOrFollower, ErrorCode.UnknownTopicId, ErrorCode.UnknownTopicOrPartition,
        ErrorCode.LeaderNotAvailable, ErrorCode.CoordinatorNotAvailable, ErrorCode.CoordinatorLoadInProgress,
        ErrorCode.NotCoordinator, ErrorCode.ConcurrentTransactions,
    ];

    public WireClient Client => client;

    /// <summary>Whether Produce itself adds partitions to a transaction (transaction.version 2, KIP-890).</summary>
    public bool AddsPartitionsWhenProducing => client.LevelOf("transaction.version") >= 2;

    public async Task<Topic> CreateAsync(string name, int partitions = 1, params (string Name, string Value)[] configs)
    {
        var answer = await client.SendAsync<CreateTopicsResponse>(new CreateTopicsRequest
        {
            TimeoutMs = 30_000,
            Topics =
            [
                new()
                {
                    Name = name,
                    NumPartitions = partitions,
                    ReplicationFactor = 1,
                    Configs = [.. configs.Select(c => new CreateTopicsRequest.CreatableTopicConfig
                    {
                        Name = c.Name,
                        Value = c.Value,
                    })],
                },
            ],
        });
        var created = answer.Topics.Single();
        Assert.True(created.ErrorCode == ErrorCode.None, $"{name}: {created.ErrorCode} {created.ErrorMessage}");
        return new Topic(name, created.TopicId);
    }

    public async Task<Topic> FindAsync(string name)
    {
        var request = new MetadataRequest { Topics = [new() { Name = name }], AllowAutoTopicCreation = false };
        var answer = await PatientlyAsync<MetadataResponse>(request, a => a.Topics.Single().ErrorCode);
        return new Topic(name, answer.Topics.Single().TopicId);
    }

    public async Task DeleteAsync(Topic topic)
    {
        var answer = await client.SendAsync<DeleteTopicsResponse>(new DeleteTopicsRequest
        {
            TimeoutMs = 30_000,
            Topics = [new() { Name = null, TopicId = topic.Id }],
        });
        Assert.Equal(ErrorCode.None, answer.Responses.Single().ErrorCode);
        await Poll.UntilAsync($"{topic.Name} is gone", async () =>
        {
            var metadata = await client.SendAsync<MetadataResponse>(
                new MetadataRequest { Topics = [new() { Name = topic.Name }], AllowAutoTopicCreation = false });
            return metadata.Topics.Single().ErrorCode == ErrorCode.UnknownTopicOrPartition;
        });
    }

    public async Task GrowAsync(Topic topic, int partitions)
    {
        var answer = await client.SendAsync<CreatePartitionsResponse>(new CreatePartitionsRequest
        {
            TimeoutMs = 30_000,
            Topics = [new() { Name = topic.Name, Count = partitions, Assignments = null }],
        });
        Assert.Equal(ErrorCode.None, answer.Results.Single().ErrorCode);
    }

    /// <summary>Sets configs; null removes one.</summary>
    public async Task ConfigureAsync(sbyte type, string name, params (string Name, string? Value)[] configs)
    {
        var answer = await client.SendAsync<IncrementalAlterConfigsResponse>(new IncrementalAlterConfigsRequest
        {
            Resources =
            [
                new()
                {
                    ResourceType = type,
                    ResourceName = name,
                    Configs = [.. configs.Select(c => new IncrementalAlterConfigsRequest.AlterableConfig
                    {
                        Name = c.Name,
                        ConfigOperation = c.Value is null ? (sbyte)1 : (sbyte)0,
                        Value = c.Value,
                    })],
                },
            ],
        });
        var result = answer.Responses.Single();
        Assert.True(result.ErrorCode == ErrorCode.None, $"{type} '{name}': {result.ErrorCode} {result.ErrorMessage}");
    }

    /// <summary>The value of a config in force, as the broker describes it.</summary>
    public async Task<string?> ConfigOfAsync(sbyte type, string name, string config)
    {
        var answer = await client.SendAsync<DescribeConfigsResponse>(new DescribeConfigsRequest
        {
            Resources = [new() { ResourceType = type, ResourceName = name, ConfigurationKeys = [config] }],
        });
        return answer.Results.Single().Configs.SingleOrDefault()?.Value;
    }

    /// <summary>Appends one batch with acks=all; the offset of its first record comes back.</summary>
    public async Task<long> ProduceAsync(Topic topic, int partition, byte[] batch, string? transactionalId = null)
    {
        var result = new ProduceResponse.PartitionProduceResponse();
        await Poll.UntilAsync($"{topic.Name}-{partition} takes a batch", async () =>
        {
            var request = new ProduceRequest
            {
                TransactionalId = transactionalId,
                Acks = -1,
                TimeoutMs = 30_000,
                TopicData =
                [
                    new()
                    {
                        Name = topic.Name,
                        TopicId = topic.Id,
                        PartitionData = [new() { Index = partition, Records = new Records(batch.ToArray()) }],
                    },
                ],
            };
            var answer = transactionalId is null || AddsPartitionsWhenProducing
                ? await client.SendAsync<ProduceResponse>(request)
                : await client.SendAsync<ProduceResponse>(request, 11);
            result = answer.Responses.Single().PartitionResponses.Single();
            return !NotYet.Contains(result.ErrorCode);
        });
        Assert.True(result.ErrorCode == ErrorCode.None,
            $"{topic.Name}-{partition}: {result.ErrorCode} {result.ErrorMessage}");
        return result.BaseOffset;
    }

    public async Task DeleteRecordsAsync(Topic topic, int partition, long offset)
    {
        var answer = await client.SendAsync<DeleteRecordsResponse>(new DeleteRecordsRequest
        {
            TimeoutMs = 30_000,
            Topics =
            [
                new() { Name = topic.Name, Partitions = [new() { PartitionIndex = partition, Offset = offset }] },
            ],
        });
        var result = answer.Topics.Single().Partitions.Single();
        Assert.Equal((ErrorCode.None, offset), (result.ErrorCode, result.LowWatermark));
    }

    /// <summary>The first and the next offset of a partition.</summary>
    public async Task<(long Start, long End)> RangeAsync(Topic topic, int partition = 0)
    {
        async Task<long> At(long timestamp)
        {
            var answer = await client.SendAsync<ListOffsetsResponse>(new ListOffsetsRequest
            {
                ReplicaId = -1,
                Topics =
                [
                    new()
                    {
                        Name = topic.Name,
                        Partitions = [new() { PartitionIndex = partition, Timestamp = timestamp }],
                    },
                ],
            });
            var found = answer.Topics.Single().Partitions.Single();
            Assert.Equal(ErrorCode.None, found.ErrorCode);
            return found.Offset;
        }

        return (await At(-2), await At(-1));
    }

    /// <summary>Asks until the answer's error is none of those that say "not yet".</summary>
    public async Task<TResponse> PatientlyAsync<TResponse>(
        IRequestMessage request, Func<TResponse, ErrorCode> error, short version = -1)
        where TResponse : IResponseMessage, IMessage<TResponse>
    {
        TResponse answer = default!;
        await Poll.UntilAsync($"{request.ApiKey} is answered", async () =>
        {
            answer = version < 0 ? await client.SendAsync<TResponse>(request)
                : await client.SendAsync<TResponse>(request, version);
            return !NotYet.Contains(error(answer));
        }, TimeSpan.FromSeconds(60));
        Assert.Equal(ErrorCode.None, error(answer));
        return answer;
    }
}
