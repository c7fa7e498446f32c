using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using KBroker.Cluster.Configuration;
using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Storage;
using Microsoft.Extensions.Logging;

namespace KBroker.Cluster.Replication;

/// <summary>
/// The partitions of which this broker has a replica. It follows the metadata: creates and deletes logs, hands on
/// leaders and epochs, and gives each log the configs in force.
/// </summary>
public sealed class PartitionRegistry : IMetadataSubscriber
{
    private readonly ConcurrentDictionary<TopicPartition, Partition> _byName = new();
    private readonly ConcurrentDictionary<(Uuid TopicId, int Partition), Partition> _byId = new();
    private readonly ConcurrentDictionary<TopicPartition, string> _offline = new();
    private readonly Dictionary<LogDirectory, Dictionary<TopicPartition, long>> _checkpointed = [];
    private readonly LogManager _logs;
    private readonly ConfigView _configs;
    private readonly int _brokerId;
    private readonly IPartitionListener _listener;
    private readonly ILogger _logger;
    private readonly DirectoryAssignments? _assignments;
    private (string Topic, TopicConfigValues Values, LogConfig Config)? _configsOfTopic;

    /// <summary>Creates an empty registry; subscribe it to the metadata after the configs.</summary>
    /// <param name="logs">The logs on disk.</param>
    /// <param name="configs">The configs in force.</param>
    /// <param name="brokerId">This broker's id.</param>
    /// <param name="listener">Whom the partitions tell of events.</param>
    /// <param name="logger">Where failures to create or delete a log are told.</param>
    /// <param name="assignments">Whom to tell in which directory a log was created; null for nobody.</param>
    public PartitionRegistry(
        LogManager logs,
        ConfigView configs,
        int brokerId,
        IPartitionListener listener,
        ILogger logger,
        DirectoryAssignments? assignments = null)
    {
        _assignments = assignments;
        _logs = logs;
        _configs = configs;
        _brokerId = brokerId;
        _listener = listener;
        _logger = logger;
        logs.HighWatermarkOf = HighWatermarkOf;
    }

    /// <summary>Every partition with a replica here.</summary>
    public IEnumerable<Partition> All => _byName.Values;

    /// <summary>Finds a partition by name.</summary>
    /// <param name="topicPartition">Its name.</param>
    /// <param name="partition">The partition.</param>
    /// <returns>None; KAFKA_STORAGE_ERROR when its log could not be opened; UNKNOWN_TOPIC_OR_PARTITION.</returns>
    public ErrorCode Find(TopicPartition topicPartition, [NotNull] out Partition? partition)
    {
        if (_byName.TryGetValue(topicPartition, out partition!))
            return ErrorCode.None;
        return _offline.ContainsKey(topicPartition) ? ErrorCode.KafkaStorageError : ErrorCode.UnknownTopicOrPartition;
    }

    /// <summary>Finds a partition by its topic's id.</summary>
    /// <param name="topicId">The topic's id.</param>
    /// <param name="index">The partition's index.</param>
    /// <param name="partition">The partition.</param>
    /// <returns>False when there is no replica of it here.</returns>
    public bool TryFind(Uuid topicId, int index, [NotNullWhen(true)] out Partition? partition) =>
        _byId.TryGetValue((topicId, index), out partition);

    /// <summary>Why a partition's log could not be opened.</summary>
    /// <param name="topicPartition">The partition.</param>
    /// <returns>The reason, or null when it is not offline.</returns>
    public string? OfflineReason(TopicPartition topicPartition) => _offline.GetValueOrDefault(topicPartition);

    /// <inheritdoc/>
    public void OnMetadata(MetadataUpdate update)
    {
        ArgumentNullException.ThrowIfNull(update);
        _configsOfTopic = null;
        var doomed = new List<TopicPartition>();
        foreach (var topic in update.DeletedTopics)
            Delete(topic, doomed);
        DeleteLogs(doomed);
        foreach (var topic in update.ChangedTopics)
            Apply(topic, isNew: update.Delta is not null);
        ApplyConfigs(update);
    }

    /// <summary>
    /// Writes the high watermarks to <c>replication-offset-checkpoint</c> of each log directory, where they changed
    /// since the last time. Calls must not overlap.
    /// </summary>
    public void CheckpointHighWatermarks()
    {
        foreach (var group in _byName.Values.GroupBy(static partition => partition.Log.Directory))
        {
            var offsets = group.ToDictionary(static p => p.TopicPartition, static p => p.HighWatermark);
            if (group.Key.IsOffline || (_checkpointed.TryGetValue(group.Key, out var last) && IsSame(last, offsets)))
                continue;
            try
            {
                group.Key.HighWatermarks.Write(offsets);
                _checkpointed[group.Key] = offsets;
            }
            catch (IOException failure)
            {
                _logger.LogError(
                    "{File} cannot be written: {Reason}", group.Key.HighWatermarks.Path, failure.Message);
            }
        }
    }

    private static bool IsSame(Dictionary<TopicPartition, long> one, Dictionary<TopicPartition, long> other) =>
        one.Count == other.Count && one.All(pair => other.TryGetValue(pair.Key, out var value) && value == pair.Value);

    private long HighWatermarkOf(PartitionLog log) =>
        _byName.TryGetValue(log.TopicPartition, out var partition) ? partition.HighWatermark : log.LogStartOffset;

    private void Apply(TopicImage topic, bool isNew)
    {
        foreach (var image in topic.Partitions)
        {
            var topicPartition = new TopicPartition(topic.Name, image.PartitionId);
            if (!image.Replicas.Contains(_brokerId))
            {
                Remove(topicPartition);
                continue;
            }

            if (_byName.TryGetValue(topicPartition, out var known) && known.TopicId != topic.Id)
            {
                Remove(topicPartition);
                known = null;
            }

            (known ?? Create(topic, image, topicPartition, isNew))?.Update(image);
        }
    }

    /// <summary>The partitions of a topic share one object, which is looked up once.</summary>
    private (TopicConfigValues Values, LogConfig Config) ConfigsOf(string topic)
    {
        if (_configsOfTopic is not { } known || known.Topic != topic)
        {
            var values = _configs.OfTopic(topic);
            _configsOfTopic = known = (topic, values, LogConfigs.From(values));
        }

        return (known.Values, known.Config);
    }

    private Partition? Create(TopicImage topic, PartitionImage image, TopicPartition topicPartition, bool isNew)
    {
        try
        {
            var (values, config) = ConfigsOf(topic.Name);
            var assigned = image.DirectoryOf(_brokerId);
            // Found at the start without a directory, it may have got one that the controller was not told of any more.
            var mayChoose = isNew && assigned == DirectoryIds.Unassigned && !_offline.ContainsKey(topicPartition);
            Uuid? directory = mayChoose ? null : assigned;
            var log = _logs.GetOrCreate(topicPartition, topic.Id, config, directory);
            if (log.Directory.DirectoryId != assigned)
                _assignments?.Note(new(topic.Id, image.PartitionId, log.Directory.DirectoryId));
            var partition = new Partition(topicPartition, topic.Id, log, _brokerId, _listener)
            {
                MinInSyncReplicas = values.GetInt("min.insync.replicas"),
            };
            _byName[topicPartition] = partition;
            _byId[(topic.Id, image.PartitionId)] = partition;
            _offline.TryRemove(topicPartition, out _);
            return partition;
        }
        catch (Exception failure) when (
            failure is IOException or UnauthorizedAccessException or LogDirectoryException or ConfigException)
        {
            _offline[topicPartition] = failure.Message;
            _logger.LogError("Partition {Partition} is offline: {Reason}", topicPartition, failure.Message);
            return null;
        }
    }

    private void Delete(TopicImage topic, List<TopicPartition> doomed)
    {
        foreach (var image in topic.Partitions)
        {
            var topicPartition = new TopicPartition(topic.Name, image.PartitionId);
            if (_offline.TryRemove(topicPartition, out _)
                || (_byName.TryGetValue(topicPartition, out var partition) && partition.TopicId == topic.Id
                    && Forget(topicPartition)))
            {
                doomed.Add(topicPartition);
            }
        }
    }

    private void Remove(TopicPartition topicPartition)
    {
        if (Forget(topicPartition))
            DeleteLogs([topicPartition]);
    }

    private bool Forget(TopicPartition topicPartition)
    {
        if (!_byName.TryRemove(topicPartition, out var partition))
            return false;
        _byId.TryRemove((partition.TopicId, topicPartition.Partition), out _);
        partition.Stop();
        return true;
    }

    private void DeleteLogs(List<TopicPartition> doomed)
    {
        if (doomed.Count == 0)
            return;
        try
        {
            _logs.Delete(doomed);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            var which = doomed.Count == 1 ? doomed[0].ToString() : $"{doomed.Count} partitions";
            _logger.LogError("The logs of {Partitions} cannot be deleted: {Reason}", which, failure.Message);
        }
    }

    private void ApplyConfigs(MetadataUpdate update)
    {
        if (update.Delta is null || update.ChangedConfigs.Any(_configs.IsBroker))
        {
            _logs.ProducerIdExpirationMs = _configs.Broker.GetLong("producer.id.expiration.ms");
            _logs.Cleaner.Reconfigure(CleanerConfigs.From(_configs.Broker));
        }

        // New logs were just created with the configs in force.
        if (update.Delta is null)
            return;
        var changed = update.ChangedConfigs.ToHashSet();
        if (changed.Count == 0)
            return;
        var everyTopic = changed.Any(_configs.IsBroker);
        foreach (var byTopic in _byName.Values.GroupBy(static p => p.TopicPartition.Topic))
        {
            if (!everyTopic && !changed.Contains(new ConfigResource(ConfigResourceType.Topic, byTopic.Key)))
                continue;
            var values = _configs.OfTopic(byTopic.Key);
            var config = LogConfigs.From(values);
            foreach (var partition in byTopic)
            {
                partition.Log.UpdateConfig(config);
                partition.MinInSyncReplicas = values.GetInt("min.insync.replicas");
            }
        }
    }
}
