using System.Collections.Immutable;
using KBroker.Cluster.Configuration;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Cluster.Metadata.Control;

/// <summary>CreateTopics.</summary>
internal static class TopicCreation
{
    public static Change<CreateTopicsResponse> Create(ControlState state, CreateTopicsRequest request,
        CollisionIndex collisions)
    {
        var results = new List<CreateTopicsResponse.CreatableTopicResult>();
        var records = new List<MetadataRecord>();
        var duplicates = request.Topics.CountBy(t => t.Name).Where(c => c.Value > 1).Select(c => c.Key)
            .ToHashSet(StringComparer.Ordinal);
        results.AddRange(duplicates.Select(name => Failed(name, ErrorCode.InvalidRequest, Texts.DuplicateTopic)));
        var topics = request.Topics.Where(t => !duplicates.Contains(t.Name)).ToList();
        if (CountPartitions(state, topics) > Texts.MaxPartitionsPerRequest)
        {
            results.AddRange(topics.Select(t => Failed(t.Name, ErrorCode.PolicyViolation, Texts.TooManyPartitions)));
            return Change<CreateTopicsResponse>.Nothing(new() { Topics = results });
        }

        var created = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var topic in topics)
        {
            try
            {
                CheckName(state, topic.Name, collisions, created);
                results.Add(CreateOne(state, topic, records));
                created[TopicNames.CollisionKey(topic.Name)] = topic.Name;
            }
            catch (RefusedException e)
            {
                results.Add(Failed(topic.Name, e.Error, e.Text));
            }
        }

        return new(new() { Topics = results }, request.ValidateOnly ? [] : records);
    }

    public static CreateTopicsResponse.CreatableTopicResult Failed(string name, ErrorCode error, string? message) =>
        new() { Name = name, ErrorCode = error, ErrorMessage = message, Configs = [] };

    private static long CountPartitions(ControlState state, List<CreateTopicsRequest.CreatableTopic> topics)
    {
        var byDefault = state.Broker.GetInt("num.partitions");
        return topics.Sum(t => t.Assignments.Count > 0 ? t.Assignments.Count
            : t.NumPartitions == -1 ? byDefault : (long)Math.Max(0, t.NumPartitions));
    }

    private static void CheckName(
        ControlState state, string name, CollisionIndex collisions, Dictionary<string, string> created)
    {
        if (name == TopicNames.ClusterMetadata)
            throw new RefusedException(ErrorCode.InvalidRequest, $"Creation of internal topic {name} is prohibited.");
        if (TopicNames.Check(name) is { } problem)
            throw new RefusedException(ErrorCode.InvalidTopicException, $"Topic name is invalid: {problem}");
        if (state.Image.Topics.Find(name) is not null)
            throw new RefusedException(ErrorCode.TopicAlreadyExists, $"Topic '{name}' already exists.");
        var other = collisions.Find(name) ?? created.GetValueOrDefault(TopicNames.CollisionKey(name));
        if (other is not null)
            throw new RefusedException(
                ErrorCode.InvalidTopicException, $"Topic '{name}' collides with existing topic: {other}");
    }

    private static CreateTopicsResponse.CreatableTopicResult CreateOne(
        ControlState state, CreateTopicsRequest.CreatableTopic topic, List<MetadataRecord> records)
    {
        var overrides = CheckConfigs(state, topic);
        var id = state.NewUuid();
        var partitions = topic.Assignments.Count > 0
            ? Manual(state, topic, id) : Automatic(state, topic, id);
        records.Add(new(new TopicRecord { Name = topic.Name, TopicId = id }, 0));
        foreach (var (name, value) in overrides)
            records.Add(new(new ConfigRecord
            {
                ResourceType = (sbyte)ConfigResourceType.Topic,
                ResourceName = topic.Name,
                Name = name,
                Value = value,
            }, 0));
        records.AddRange(partitions);
        return new()
        {
            Name = topic.Name,
            TopicId = id,
            ErrorMessage = null,
            NumPartitions = partitions.Count,
            ReplicationFactor = (short)((PartitionRecord)partitions[0].Message).Replicas.Count,
            Configs = Describe(new TopicConfigValues(state.Broker, overrides)),
        };
    }

    private static ImmutableSortedDictionary<string, string> CheckConfigs(
        ControlState state, CreateTopicsRequest.CreatableTopic topic)
    {
        try
        {
            TopicConfigRules.Validate(state.Broker, topic.Configs.Select(c => KeyValuePair.Create(c.Name, c.Value)));
        }
        catch (ConfigException e)
        {
            throw new RefusedException(ErrorCode.InvalidConfig, e.Message);
        }

        var overrides = ConfigurationsImage.NoValues.ToBuilder();
        foreach (var config in topic.Configs)
            overrides[config.Name] = config.Value!;
        return overrides.ToImmutable();
    }

    private static List<MetadataRecord> Automatic(ControlState state, CreateTopicsRequest.CreatableTopic topic, Uuid id)
    {
        if (topic.ReplicationFactor is < -1 or 0)
            throw new RefusedException(ErrorCode.InvalidReplicationFactor,
                "Replication factor must be larger than 0, or -1 to use the default value.");
        if (topic.NumPartitions is < -1 or 0)
            throw new RefusedException(ErrorCode.InvalidPartitions,
                "Number of partitions was set to an invalid non-positive value.");
        var count = topic.NumPartitions == -1 ? state.Broker.GetInt("num.partitions") : topic.NumPartitions;
        var factor = topic.ReplicationFactor == -1
            ? state.Broker.GetInt("default.replication.factor") : topic.ReplicationFactor;
        return [.. ReplicaPlacement.Place(state, 0, count, factor)
            .Select((replicas, i) => ReplicaPlacement.NewPartition(state, id, i, replicas))];
    }

    private static List<MetadataRecord> Manual(ControlState state, CreateTopicsRequest.CreatableTopic topic, Uuid id)
    {
        if (topic.ReplicationFactor != -1)
            throw new RefusedException(ErrorCode.InvalidRequest,
                "A manual partition assignment was specified, but replication factor was not set to -1.");
        if (topic.NumPartitions != -1)
            throw new RefusedException(ErrorCode.InvalidRequest,
                "A manual partition assignment was specified, but numPartitions was not set to -1.");
        int? factor = null;
        var byIndex = new SortedDictionary<int, MetadataRecord>();
        foreach (var assignment in topic.Assignments)
        {
            if (byIndex.ContainsKey(assignment.PartitionIndex))
                throw new RefusedException(ErrorCode.InvalidReplicaAssignment,
                    $"Found multiple manual partition assignments for partition {assignment.PartitionIndex}");
            ReplicaPlacement.CheckManual(state, assignment.BrokerIds, factor);
            factor = assignment.BrokerIds.Count;
            byIndex.Add(assignment.PartitionIndex, ReplicaPlacement.NewPartition(
                state, id, assignment.PartitionIndex, [.. assignment.BrokerIds]));
        }

        return byIndex.Keys.SequenceEqual(Enumerable.Range(0, byIndex.Count))
            ? [.. byIndex.Values]
            : throw new RefusedException(ErrorCode.InvalidReplicaAssignment,
                "partitions should be a consecutive 0-based integer sequence");
    }

    // What a client of Kafka did not ask for it is not told of: KBroker's own configs are left out where nobody set
    // them.
    private static List<CreateTopicsResponse.CreatableTopicConfigs> Describe(TopicConfigValues values) =>
        [.. values.DescribeAll().Where(c => c.Source != ConfigSource.DefaultConfig || !IsOwn(c.Name)).Select(c =>
            new CreateTopicsResponse.CreatableTopicConfigs
        {
            Name = c.Name,
            Value = c.Value,
            ReadOnly = c.IsReadOnly,
            ConfigSource = (sbyte)c.Source,
            IsSensitive = c.IsSensitive,
        })];

    private static bool IsOwn(string config) => config.StartsWith("kbroker.", StringComparison.Ordinal);
}

/// <summary>The topics that would collide with a new name, because they differ from it only in '.' and '_'.</summary>
internal sealed class CollisionIndex
{
    private readonly Dictionary<string, string> _names = new(StringComparer.Ordinal);

    public string? Find(string name) => _names.GetValueOrDefault(TopicNames.CollisionKey(name));

    /// <summary>Follows a change of the metadata.</summary>
    public void Apply(MetadataUpdate update)
    {
        foreach (var topic in update.DeletedTopics)
            _names.Remove(TopicNames.CollisionKey(topic.Name));
        foreach (var topic in update.ChangedTopics)
            if (topic.Name.AsSpan().ContainsAny('.', '_'))
                _names[TopicNames.CollisionKey(topic.Name)] = topic.Name;
    }
}
