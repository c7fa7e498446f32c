using System.Collections.Immutable;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Cluster.Metadata;

/// <summary>A record that contradicts the metadata before it, or that this version cannot read.</summary>
public sealed class InvalidMetadataException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>
/// The changes from one image to the next: records are replayed into it, then <see cref="Apply"/> makes the next image.
/// It also says what changed, so that a subscriber need not compare images.
/// </summary>
/// <remarks>Not thread-safe; after <see cref="Apply"/> it is only read.</remarks>
public sealed class MetadataDelta
{
    private readonly ImmutableDictionary<string, TopicImage>.Builder _byName;
    private readonly ImmutableDictionary<Uuid, TopicImage>.Builder _byId;
    private readonly ImmutableSortedDictionary<int, BrokerRegistration>.Builder _brokers;
    private readonly ImmutableSortedDictionary<int, ControllerRegistration>.Builder _controllers;
    private readonly Dictionary<Uuid, TopicBuilder> _touched = [];
    private readonly HashSet<ConfigResource> _changedConfigs = [];
    private readonly Dictionary<Uuid, TopicImage> _deleted = [];
    private ImmutableSortedDictionary<string, short> _features;
    private ConfigurationsImage _configs;
    private ImmutableSortedDictionary<string, ClientQuotaRecord> _quotas;
    private ImmutableSortedDictionary<string, AccessControlEntryRecord> _acls;
    private ImmutableSortedDictionary<string, UserScramCredentialRecord> _scram;
    private ImmutableSortedDictionary<string, DelegationTokenRecord> _tokens;
    private long _nextProducerId;

    /// <summary>Starts from an image.</summary>
    public MetadataDelta(MetadataImage from)
    {
        From = from;
        _byName = from.Topics.ByName.ToBuilder();
        _byId = from.Topics.ById.ToBuilder();
        _brokers = from.Brokers.ToBuilder();
        _controllers = from.Controllers.ToBuilder();
        _features = from.Features.Levels;
        _configs = from.Configs;
        _quotas = from.ClientQuotas;
        _acls = from.Acls;
        _scram = from.ScramCredentials;
        _tokens = from.DelegationTokens;
        _nextProducerId = from.NextProducerId;
    }

    /// <summary>The image the changes start from.</summary>
    public MetadataImage From { get; }

    /// <summary>Number of records replayed so far.</summary>
    public int RecordCount { get; private set; }

    /// <summary>Ids of the topics that were created or of which a partition was created or changed; none of them
    /// deleted.</summary>
    public IReadOnlyCollection<Uuid> ChangedTopicIds => _touched.Keys;

    /// <summary>The topics of <see cref="From"/> that are gone.</summary>
    public IReadOnlyCollection<TopicImage> DeletedTopics => _deleted.Values;

    /// <summary>The resources of which a config value was set or removed.</summary>
    public IReadOnlyCollection<ConfigResource> ChangedConfigs => _changedConfigs;

    /// <summary>Whether a finalized feature level changed.</summary>
    public bool FeaturesChanged { get; private set; }

    /// <summary>Whether a broker's or controller's registration changed.</summary>
    public bool NodesChanged { get; private set; }

    /// <summary>Replays one record.</summary>
    /// <exception cref="InvalidMetadataException">The record does not fit what was before it.</exception>
    public void Replay(IMessage record)
    {
        RecordCount++;
        switch (record)
        {
            case NoOpRecord or ZkMigrationStateRecord:
                break;
            case TopicRecord topic:
                ReplayTopic(topic);
                break;
            case PartitionRecord partition:
                Topic(partition.TopicId).Set(PartitionImage.From(partition));
                break;
            case PartitionChangeRecord change:
                ReplayPartitionChange(change);
                break;
            case RemoveTopicRecord remove:
                ReplayRemoveTopic(remove);
                break;
            case ClearElrRecord clear:
                ReplayClearElr(clear);
                break;
            case ConfigRecord config:
                var resource = new ConfigResource((ConfigResourceType)config.ResourceType, config.ResourceName);
                _configs = _configs.With(resource, config.Name, config.Value);
                _changedConfigs.Add(resource);
                break;
            case FeatureLevelRecord feature:
                _features = feature.FeatureLevel == 0
                    ? _features.Remove(feature.Name) : _features.SetItem(feature.Name, feature.FeatureLevel);
                FeaturesChanged = true;
                break;
            case ProducerIdsRecord ids:
                _nextProducerId = ids.NextProducerId;
                break;
            default:
                if (!ReplayNode(record) && !ReplaySecurity(record))
                    throw new InvalidMetadataException(
                        $"Metadata records of type {record.GetType().Name} are not known.");
                break;
        }
    }

    /// <summary>Makes the next image.</summary>
    /// <param name="provenance">Where in the log the next image stands.</param>
    public MetadataImage Apply(MetadataProvenance provenance)
    {
        foreach (var (id, builder) in _touched)
        {
            var topic = builder.Build();
            _byName[topic.Name] = topic;
            _byId[id] = topic;
        }

        return From with
        {
            Provenance = provenance,
            Features = FeaturesChanged ? new FeaturesImage(_features) : From.Features,
            Brokers = _brokers.ToImmutable(),
            Controllers = _controllers.ToImmutable(),
            Topics = _touched.Count == 0 && _deleted.Count == 0
                ? From.Topics : new TopicsImage(_byName.ToImmutable(), _byId.ToImmutable()),
            Configs = _configs,
            NextProducerId = _nextProducerId,
            ClientQuotas = _quotas,
            Acls = _acls,
            ScramCredentials = _scram,
            DelegationTokens = _tokens,
        };
    }

    private void ReplayTopic(TopicRecord record)
    {
        if (_byName.TryGetValue(record.Name, out var existing))
            throw new InvalidMetadataException($"Topic '{record.Name}' already exists with id {existing.Id}.");
        var topic = new TopicImage(record.Name, record.TopicId, []);
        _byName.Add(topic.Name, topic);
        _byId.Add(topic.Id, topic);
        _touched.Add(topic.Id, new TopicBuilder(topic));
    }

    private void ReplayPartitionChange(PartitionChangeRecord change)
    {
        var topic = Topic(change.TopicId);
        var before = topic.Find(change.PartitionId) ?? throw new InvalidMetadataException(
            $"A change of partition {topic.Name}-{change.PartitionId}, which does not exist.");
        topic.Set(before.With(change));
    }

    private void ReplayRemoveTopic(RemoveTopicRecord remove)
    {
        if (!_byId.TryGetValue(remove.TopicId, out var topic))
            throw new InvalidMetadataException($"A removal of topic {remove.TopicId}, which does not exist.");
        _byId.Remove(remove.TopicId);
        _byName.Remove(topic.Name);
        _touched.Remove(remove.TopicId);
        if (From.Topics.Find(remove.TopicId) is { } old)
            _deleted.Add(remove.TopicId, old);
        var resource = new ConfigResource(ConfigResourceType.Topic, topic.Name);
        _configs = _configs.Without(resource);
        _changedConfigs.Remove(resource);
    }

    private void ReplayClearElr(ClearElrRecord clear)
    {
        var topics = clear.TopicName.Length == 0 ? [.. _byName.Values]
            : _byName.TryGetValue(clear.TopicName, out var one) ? new[] { one }
            : throw new InvalidMetadataException($"ELR cleared of topic '{clear.TopicName}', which does not exist.");
        foreach (var topic in topics)
        {
            var builder = Topic(topic.Id);
            foreach (var partition in builder.All())
                if (!partition.EligibleLeaderReplicas.IsEmpty || !partition.LastKnownElr.IsEmpty)
                    builder.Set(partition with { EligibleLeaderReplicas = [], LastKnownElr = [] });
        }
    }

    private bool ReplayNode(IMessage record)
    {
        switch (record)
        {
            case RegisterBrokerRecord broker:
                _brokers[broker.BrokerId] = BrokerRegistration.From(broker);
                break;
            case UnregisterBrokerRecord broker:
                CheckBroker(broker.BrokerId, broker.BrokerEpoch, record);
                _brokers.Remove(broker.BrokerId);
                break;
            case BrokerRegistrationChangeRecord change:
                _brokers[change.BrokerId] = CheckBroker(change.BrokerId, change.BrokerEpoch, record).With(change);
                break;
            case FenceBrokerRecord fence:
                _brokers[fence.Id] = CheckBroker(fence.Id, fence.Epoch, record) with { Fenced = true };
                break;
            case UnfenceBrokerRecord unfence:
                _brokers[unfence.Id] = CheckBroker(unfence.Id, unfence.Epoch, record) with { Fenced = false };
                break;
            case RegisterControllerRecord controller:
                _controllers[controller.ControllerId] = ControllerRegistration.From(controller);
                break;
            default:
                return false;
        }

        NodesChanged = true;
        return true;
    }

    private BrokerRegistration CheckBroker(int id, long epoch, IMessage record)
    {
        if (!_brokers.TryGetValue(id, out var broker))
            throw new InvalidMetadataException($"{record.GetType().Name} for broker {id}, which is not registered.");
        if (broker.Epoch != epoch)
            throw new InvalidMetadataException(
                $"{record.GetType().Name} for broker {id} with epoch {epoch}, but its epoch is {broker.Epoch}.");
        return broker;
    }

    private bool ReplaySecurity(IMessage record)
    {
        switch (record)
        {
            case ClientQuotaRecord quota:
                var key = QuotaKey(quota);
                _quotas = quota.Remove ? _quotas.Remove(key) : _quotas.SetItem(key, quota);
                return true;
            case AccessControlEntryRecord acl:
                _acls = _acls.SetItem(acl.Id.ToString(), acl);
                return true;
            case RemoveAccessControlEntryRecord acl:
                _acls = _acls.Remove(acl.Id.ToString());
                return true;
            case UserScramCredentialRecord scram:
                _scram = _scram.SetItem($"{scram.Mechanism}/{scram.Name}", scram);
                return true;
            case RemoveUserScramCredentialRecord scram:
                _scram = _scram.Remove($"{scram.Mechanism}/{scram.Name}");
                return true;
            case DelegationTokenRecord token:
                _tokens = _tokens.SetItem(token.TokenId, token);
                return true;
            case RemoveDelegationTokenRecord token:
                _tokens = _tokens.Remove(token.TokenId);
                return true;
            default:
                return false;
        }
    }

    // Length-prefixed, so that no name can imitate another entity; a null name is the default entity.
    private static string QuotaKey(ClientQuotaRecord quota) => string.Concat(
        quota.Entity.OrderBy(e => e.EntityType, StringComparer.Ordinal)
            .Select(e => $"{e.EntityType}={(e.EntityName is { } name ? $"{name.Length}:{name}" : "-")};")) + quota.Key;

    private TopicBuilder Topic(Uuid id)
    {
        if (_touched.TryGetValue(id, out var builder))
            return builder;
        if (!_byId.TryGetValue(id, out var topic))
            throw new InvalidMetadataException($"A partition of topic {id}, which does not exist.");
        builder = new TopicBuilder(topic);
        _touched.Add(id, builder);
        return builder;
    }

    /// <summary>The partitions of one topic while they change. Partition records may come in any order within one
    /// delta.</summary>
    private sealed class TopicBuilder(TopicImage topic)
    {
        private readonly List<PartitionImage?> _partitions = [.. topic.Partitions];

        public string Name => topic.Name;

        public PartitionImage? Find(int id) => (uint)id < (uint)_partitions.Count ? _partitions[id] : null;

        public IEnumerable<PartitionImage> All() => _partitions.OfType<PartitionImage>().ToList();

        public void Set(PartitionImage partition)
        {
            // Far beyond what a cluster can hold; a record with such an id is damaged.
            if (partition.PartitionId is < 0 or > 10_000_000)
                throw new InvalidMetadataException(
                    $"Partition id {partition.PartitionId} of topic '{Name}' is not valid.");
            while (_partitions.Count <= partition.PartitionId)
                _partitions.Add(null);
            _partitions[partition.PartitionId] = partition;
        }

        public TopicImage Build()
        {
            var hole = _partitions.IndexOf(null);
            if (hole >= 0)
                throw new InvalidMetadataException(
                    $"Topic '{Name}' has {_partitions.Count} partitions, but none with id {hole}.");
            return topic with { Partitions = [.. _partitions.OfType<PartitionImage>()] };
        }
    }
}
