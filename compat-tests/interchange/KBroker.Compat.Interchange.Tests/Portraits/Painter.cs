using KBroker.Compat.Harness;
using KBroker.Compat.Interchange.Tests.Wire;
using KBroker.Compat.Interchange.Tests.Work;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;

namespace KBroker.Compat.Interchange.Tests.Portraits;

/// <summary>Takes the portrait of a broker through its protocol.</summary>
internal sealed class Painter(WireClient client)
{
    private const sbyte TopicResource = 2;
    private const sbyte BrokerResource = 4;
    private const sbyte BrokerLoggerResource = 8;

    private readonly Portrait _portrait = new();

    public static async Task<Portrait> PaintAsync(int port)
    {
        await using var client = await WireClient.ConnectAsync(port);
        return await new Painter(client).PaintAsync();
    }

    /// <summary>Only the records and offsets of one partition.</summary>
    public static async Task<Portrait> PaintRecordsAsync(WireClient client, Topic topic, int partition)
    {
        var portrait = new Portrait();
        using var codecs = new CompressionCodecs();
        await new PartitionPortrait(client, portrait, topic.Name, topic.Id, partition, codecs).TakeAsync();
        return portrait;
    }

    private async Task<Portrait> PaintAsync()
    {
        var metadata = await SettledAsync();
        await TakeClusterAsync(metadata);
        await TakeTopicsAsync();
        using var codecs = new CompressionCodecs();
        foreach (var topic in metadata.Topics.OrderBy(t => t.Name, StringComparer.Ordinal))
            foreach (var partition in topic.Partitions.OrderBy(p => p.PartitionIndex))
                await new PartitionPortrait(
                    client, _portrait, topic.Name!, topic.TopicId, partition.PartitionIndex, codecs).TakeAsync();
        await TakeSizesAsync();
        await TakeConfigsAsync(metadata);
        await new CoordinationPortrait(client, _portrait).TakeAsync();
        return _portrait;
    }

    /// <summary>Metadata of all topics, once every partition has a leader that serves it.</summary>
    private async Task<MetadataResponse> SettledAsync()
    {
        MetadataResponse metadata = new();
        await Poll.UntilAsync("every partition is led and served", async () =>
        {
            metadata = await client.SendAsync<MetadataResponse>(new MetadataRequest { Topics = null });
            if (metadata.Topics.Any(t => t.ErrorCode != ErrorCode.None
                || t.Partitions.Any(p => p.ErrorCode != ErrorCode.None || p.LeaderId < 0)))
                return false;
            var ends = await client.SendAsync<ListOffsetsResponse>(new ListOffsetsRequest
            {
                ReplicaId = -1,
                Topics = metadata.Topics.ConvertAll(t => new ListOffsetsRequest.ListOffsetsTopic
                {
                    Name = t.Name!,
                    Partitions = t.Partitions.ConvertAll(p => new ListOffsetsRequest.ListOffsetsPartition
                    {
                        PartitionIndex = p.PartitionIndex,
                        Timestamp = -1,
                    }),
                }),
            });
            return ends.Topics.All(t => t.Partitions.All(p => p.ErrorCode == ErrorCode.None));
        }, TimeSpan.FromSeconds(60));
        return metadata;
    }

    private async Task TakeClusterAsync(MetadataResponse metadata)
    {
        var cluster = await client.SendAsync<DescribeClusterResponse>(new DescribeClusterRequest());
        _portrait.Add(Section.Cluster, "id", cluster.ClusterId);
        _portrait.Add(Section.Cluster, "id in Metadata", metadata.ClusterId);
        _portrait.Add(Section.Cluster, "controller", cluster.ControllerId);
        foreach (var b in cluster.Brokers)
            _portrait.Add(Section.Cluster, $"broker {b.BrokerId}", $"{b.Host}:{b.Port} rack {b.Rack} {b.IsFenced}");
        foreach (var feature in client.Versions.FinalizedFeatures)
            _portrait.Add(Section.Cluster, $"finalized {feature.Name}",
                $"{feature.MinVersionLevel}..{feature.MaxVersionLevel}");
        foreach (var feature in client.Versions.SupportedFeatures)
            _portrait.Add(Section.Cluster, $"supported {feature.Name}", $"{feature.MinVersion}..{feature.MaxVersion}");
        var quorum = await client.SendAsync<DescribeQuorumResponse>(new DescribeQuorumRequest
        {
            Topics = [new() { TopicName = "__cluster_metadata", Partitions = [new() { PartitionIndex = 0 }] }],
        });
        var state = quorum.Topics[0].Partitions[0];
        _portrait.Add(Section.Cluster, "quorum", $"{state.ErrorCode} leader {state.LeaderId} voters "
            + string.Join(' ', state.CurrentVoters.Select(v => $"{v.ReplicaId}/{v.ReplicaDirectoryId}"))
            + $" observers {state.Observers.Count}");
        foreach (var node in quorum.Nodes)
            _portrait.Add(Section.Cluster, $"quorum node {node.NodeId}", string.Join(' ', node.Listeners.Select(l =>
                $"{l.Name} {l.Host}:{l.Port}")));
    }

    private async Task TakeTopicsAsync()
    {
        _portrait.Begin(Section.Topics);
        _portrait.Begin(Section.LeaderEpochs);
        var all = await client.SendAsync<DescribeTopicPartitionsResponse>(new DescribeTopicPartitionsRequest());
        Assert.Null(all.NextCursor);
        foreach (var topic in all.Topics)
        {
            _portrait.Add(Section.Topics, topic.Name!,
                $"{topic.TopicId} internal {topic.IsInternal} partitions {topic.Partitions.Count}");
            foreach (var p in topic.Partitions)
            {
                var name = $"{topic.Name}-{p.PartitionIndex}";
                _portrait.Add(Section.Topics, name,
                    $"{p.ErrorCode} leader {p.LeaderId} replicas {Join(p.ReplicaNodes)} isr {Join(p.IsrNodes)}"
                    + $" elr {Join(p.EligibleLeaderReplicas)} last elr {Join(p.LastKnownElr)}"
                    + $" offline {Join(p.OfflineReplicas)}");
                _portrait.Add(Section.LeaderEpochs, name, p.LeaderEpoch);
            }
        }
    }

    /// <summary>
    /// Bytes of each partition's log, and in which directory it lies. Where records were deleted at its start, the
    /// bytes depend on when a broker last looked.
    /// </summary>
    private async Task TakeSizesAsync()
    {
        var answer = await client.SendAsync<DescribeLogDirsResponse>(new DescribeLogDirsRequest { Topics = null });
        foreach (var directory in answer.Results)
        {
            _portrait.Add(Section.Sizes, directory.LogDir, $"{directory.ErrorCode} cordoned {directory.IsCordoned}");
            foreach (var topic in directory.Topics)
                foreach (var p in topic.Partitions)
                {
                    var name = $"{topic.Name}-{p.PartitionIndex}";
                    var range = _portrait.Of(Section.Records)[$"{name} range"];
                    var size = range.StartsWith("0 ", StringComparison.Ordinal) ? $"{p.PartitionSize} bytes" : "some";
                    _portrait.Add(Section.Sizes, name,
                        $"{size}, lag {p.OffsetLag}, future {p.IsFutureKey}, in {directory.LogDir}");
                }
        }
    }

    private async Task TakeConfigsAsync(MetadataResponse metadata)
    {
        foreach (var topic in metadata.Topics.OrderBy(t => t.Name, StringComparer.Ordinal))
            await TakeConfigsAsync(Section.TopicConfigs, TopicResource, topic.Name!);
        foreach (var broker in metadata.Brokers.Select(b => $"{b.NodeId}").Append(""))
            await TakeConfigsAsync(Section.BrokerConfigs, BrokerResource, broker);
        var others = await client.SendAsync<ListConfigResourcesResponse>(new ListConfigResourcesRequest());
        foreach (var other in others.ConfigResources)
            if (other.ResourceType is not (TopicResource or BrokerResource or BrokerLoggerResource))
                await TakeConfigsAsync(Section.OtherConfigs, other.ResourceType, other.ResourceName);
    }

    private async Task TakeConfigsAsync(string section, sbyte type, string name)
    {
        _portrait.Begin(section);
        var answer = await client.SendAsync<DescribeConfigsResponse>(new DescribeConfigsRequest
        {
            Resources = [new() { ResourceType = type, ResourceName = name, ConfigurationKeys = null }],
            IncludeSynonyms = true,
        });
        var result = answer.Results.Single();
        Assert.Equal((ErrorCode.None, name), (result.ErrorCode, result.ResourceName));
        foreach (var config in result.Configs.Where(c => !c.Name.StartsWith("kbroker.", StringComparison.Ordinal)))
            _portrait.Add(section, $"{type} '{name}' {config.Name}",
                $"{config.Value ?? "null"} from {config.ConfigSource} type {config.ConfigType}"
                + $" read only {config.ReadOnly} sensitive {config.IsSensitive} ["
                + string.Join(", ", config.Synonyms.Select(s => $"{s.Source} {s.Name}={s.Value ?? "null"}")) + "]");
    }

    private static string Join(IEnumerable<int>? ids) => $"[{string.Join(' ', ids ?? [])}]";
}
