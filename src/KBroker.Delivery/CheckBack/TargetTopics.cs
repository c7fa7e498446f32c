using System.Collections.Concurrent;
using KBroker.Cluster.Metadata;
using KBroker.Cluster.Replication;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Storage;
using Microsoft.Extensions.Logging;

namespace KBroker.Delivery.CheckBack;

/// <summary>Where records go that leave their partition.</summary>
internal interface ITargetTopics
{
    /// <summary>Finds a partition of a topic; one that does not exist is created in the background.</summary>
    /// <param name="topic">The topic.</param>
    /// <param name="key">Spreads records over the partitions: equal keys go to the same one.</param>
    /// <returns>Null while there is none that this broker leads.</returns>
    Partition? Find(string topic, long key);
}

/// <summary>
/// The ordinary topics to which checks and expired half messages go: created when the first one comes, with the
/// broker's default numbers of partitions and replicas.
/// </summary>
/// <param name="metadata">Knows the topics.</param>
/// <param name="partitions">The partitions of this broker.</param>
/// <param name="controller">Creates topics.</param>
/// <param name="logger">Told what cannot be created.</param>
internal sealed class TargetTopics(
    IMetadataLog metadata, PartitionRegistry partitions, IController controller, ILogger logger) : ITargetTopics
{
    private readonly ConcurrentDictionary<string, byte> _running = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, string> _refused = new(StringComparer.Ordinal);

    /// <inheritdoc/>
    public Partition? Find(string topic, long key)
    {
        if (metadata.Image.Topics.Find(topic) is not { Partitions.Length: > 0 } image)
        {
            if (_running.TryAdd(topic, 0))
                _ = Task.Run(() => CreateAsync(topic));
            return null;
        }

        // A partition that is led elsewhere, or offline, is passed over.
        for (var i = 0; i < image.Partitions.Length; i++)
        {
            var index = (int)((ulong)(key + i) % (ulong)image.Partitions.Length);
            if (partitions.Find(new TopicPartition(topic, index), out var partition) == ErrorCode.None
                && partition!.IsLeader)
            {
                return partition;
            }
        }

        return null;
    }

    private async Task CreateAsync(string name)
    {
        try
        {
            var request = new CreateTopicsRequest();
            request.Topics.Add(
                new CreateTopicsRequest.CreatableTopic { Name = name, NumPartitions = -1, ReplicationFactor = -1 });
            var response = await controller.CreateTopicsAsync(request).ConfigureAwait(false);
            foreach (var topic in response.Topics)
                Note(name, topic.ErrorCode, topic.ErrorMessage);
        }
        finally
        {
            _running.TryRemove(name, out _);
        }
    }

    /// <summary>It is tried again and again, so each reason is told once.</summary>
    private void Note(string name, ErrorCode error, string? message)
    {
        var reason = $"{ErrorCodes.Name(error)} {message}";
        if (error is ErrorCode.None or ErrorCode.TopicAlreadyExists)
            _refused.TryRemove(name, out _);
        else if (_refused.GetValueOrDefault(name) != reason)
            logger.LogWarning("Topic {Topic} is needed for check-back and cannot be created: {Reason}", name, reason);
        else
            return;
        if (error is not (ErrorCode.None or ErrorCode.TopicAlreadyExists))
            _refused[name] = reason;
    }
}
