using System.Collections.Concurrent;
using System.Globalization;
using KBroker.Cluster.Configuration;
using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using Microsoft.Extensions.Logging;

namespace KBroker.Server.Topics;

/// <summary>
/// Creates topics that clients merely mention (<c>auto.create.topics.enable</c>), with the broker's default numbers of
/// partitions and replicas. Clients that mention the same topic at once share one creation.
/// </summary>
/// <param name="controller">Creates them.</param>
/// <param name="metadata">Knows how many brokers there are: an internal topic has at most one replica on each.</param>
/// <param name="configs">The configs in force.</param>
/// <param name="logger">Where refusals go; the client only learns that the topic is unknown.</param>
public sealed class AutoTopicCreator(
    IController controller, IMetadataLog metadata, ConfigView configs, ILogger<AutoTopicCreator> logger)
{
    private readonly ConcurrentDictionary<string, Lazy<Task>> _running = new(StringComparer.Ordinal);
    private readonly bool _enabled = configs.Broker.GetBoolean("auto.create.topics.enable");

    /// <summary>Whether topics may be created so.</summary>
    public bool Enabled => _enabled;

    /// <summary>Creates the topics; those that cannot be created stay unknown.</summary>
    /// <param name="names">Valid names of topics that do not exist.</param>
    /// <returns>Done when each is there, or refused.</returns>
    public Task CreateAsync(IReadOnlyCollection<string> names) =>
        Task.WhenAll(names.Distinct(StringComparer.Ordinal).Select(CreateOnceAsync));

    private async Task CreateOnceAsync(string name)
    {
        var creation = _running.GetOrAdd(name, key => new Lazy<Task>(() => CreateAsync(key)));
        try
        {
            await creation.Value.ConfigureAwait(false);
        }
        finally
        {
            _running.TryRemove(KeyValuePair.Create(name, creation));
        }
    }

    private async Task CreateAsync(string name)
    {
        var request = new CreateTopicsRequest();
        request.Topics.Add(Describe(name));
        var response = await controller.CreateTopicsAsync(request).ConfigureAwait(false);
        foreach (var topic in response.Topics)
        {
            if (topic.ErrorCode is not (ErrorCode.None or ErrorCode.TopicAlreadyExists))
            {
                logger.LogWarning(
                    "Topic {Topic} cannot be created on demand: {Error} {Message}",
                    name, ErrorCodes.Name(topic.ErrorCode), topic.ErrorMessage);
            }
        }
    }

    /// <summary>An ordinary topic has the broker's defaults; an internal one is as its coordinator needs it.</summary>
    private CreateTopicsRequest.CreatableTopic Describe(string name)
    {
        var broker = configs.Broker;
        return name switch
        {
            TopicNames.ConsumerOffsets => Internal(
                name,
                broker.GetInt("offsets.topic.num.partitions"),
                broker.GetInt("offsets.topic.replication.factor"),
                ("cleanup.policy", "compact"),
                ("compression.type", "producer"),
                ("segment.bytes", broker.GetInt("offsets.topic.segment.bytes").ToString(CultureInfo.InvariantCulture))),
            TopicNames.TransactionState => Internal(
                name,
                broker.GetInt("transaction.state.log.num.partitions"),
                broker.GetInt("transaction.state.log.replication.factor"),
                ("cleanup.policy", "compact"),
                ("compression.type", "uncompressed"),
                ("unclean.leader.election.enable", "false"),
                ("min.insync.replicas",
                    broker.GetInt("transaction.state.log.min.isr").ToString(CultureInfo.InvariantCulture)),
                ("segment.bytes",
                    broker.GetInt("transaction.state.log.segment.bytes").ToString(CultureInfo.InvariantCulture))),
            _ => new CreateTopicsRequest.CreatableTopic { Name = name, NumPartitions = -1, ReplicationFactor = -1 },
        };
    }

    private CreateTopicsRequest.CreatableTopic Internal(
        string name, int partitions, int replicationFactor, params ReadOnlySpan<(string Name, string Value)> values)
    {
        var topic = new CreateTopicsRequest.CreatableTopic
        {
            Name = name,
            NumPartitions = partitions,
            // One broker alone could not serve groups otherwise: Kafka's default asks for three.
            ReplicationFactor = (short)Math.Clamp(
                metadata.Image.Brokers.Values.Count(static b => !b.Fenced), 1, replicationFactor),
        };
        foreach (var (key, value) in values)
            topic.Configs.Add(new CreateTopicsRequest.CreatableTopicConfig { Name = key, Value = value });
        return topic;
    }
}
