using System.Collections.Immutable;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Cluster.Metadata.Control;

/// <summary>DeleteTopics and CreatePartitions.</summary>
internal static class TopicChanges
{
    public static Change<DeleteTopicsResponse> Delete(ControlState state, DeleteTopicsRequest request)
    {
        var asked = Asked(request);
        if (!state.Broker.GetBoolean("delete.topic.enable"))
            return Change<DeleteTopicsResponse>.Nothing(new()
            {
                Responses = [.. asked.Select(a =>
                    Deleted(a.Name, a.Id, ErrorCode.TopicDeletionDisabled, "Topic deletion is disabled."))],
            });
        var response = new DeleteTopicsResponse();
        var records = new List<MetadataRecord>();
        var names = asked.Where(a => a.Name is not null && a.Id.IsZero).CountBy(a =>
            a.Name!).ToDictionary(StringComparer.Ordinal);
        var ids = asked.Where(a => a.Name is null && !a.Id.IsZero).CountBy(a => a.Id).ToDictionary();
        foreach (var (name, id) in asked.Distinct())
        {
            var (error, message, topic) = Resolve(state.Image.Topics, name, id, names, ids);
            // A topic that is asked for by name and by id is answered once, with the name's error.
            if (error == ErrorCode.None && name is null && names.ContainsKey(topic!.Name))
                continue;
            response.Responses.Add(Deleted(topic?.Name ?? name, topic?.Id ?? id, error, message));
            if (error == ErrorCode.None)
                records.Add(new(new RemoveTopicRecord { TopicId = topic!.Id }, 0));
        }

        return new(response, records);
    }

    public static DeleteTopicsResponse.DeletableTopicResult Deleted(string? name, Uuid id, ErrorCode error,
        string? message) =>
        new() { Name = name, TopicId = id, ErrorCode = error, ErrorMessage = message };

    /// <summary>What a request asks for; up to version 5 it has names only.</summary>
    public static List<(string? Name, Uuid Id)> Asked(DeleteTopicsRequest request) =>
        [.. request.TopicNames.Select(name => ((string?)name, Uuid.Zero)), .. request.Topics.Select(t =>
            (t.Name, t.TopicId))];

    public static Change<CreatePartitionsResponse> CreatePartitions(ControlState state, CreatePartitionsRequest request)
    {
        var response = new CreatePartitionsResponse();
        var records = new List<MetadataRecord>();
        var duplicates = request.Topics.CountBy(t => t.Name).Where(c => c.Value > 1).Select(c => c.Key)
            .ToHashSet(StringComparer.Ordinal);
        foreach (var name in duplicates)
            response.Results.Add(new()
            {
                Name = name,
                ErrorCode = ErrorCode.InvalidRequest,
                ErrorMessage = Texts.DuplicateTopic
            });
        foreach (var topic in request.Topics.Where(t => !duplicates.Contains(t.Name)))
        {
            var result = new CreatePartitionsResponse.CreatePartitionsTopicResult
            {
                Name = topic.Name,
                ErrorMessage = null
            };
            response.Results.Add(result);
            try
            {
                records.AddRange(Add(state, topic));
                if (records.Count > Texts.MaxPartitionsPerRequest)
                    throw new RefusedException(ErrorCode.PolicyViolation, Texts.TooManyPartitions);
            }
            catch (RefusedException e)
            {
                result.ErrorCode = e.Error;
                result.ErrorMessage = e.Text;
            }
        }

        return new(response, request.ValidateOnly ? [] : records);
    }

    private static (ErrorCode Error, string? Message, TopicImage? Topic) Resolve(
        TopicsImage topics, string? name, Uuid id, Dictionary<string, int> names, Dictionary<Uuid, int> ids)
    {
        if (name is not null && !id.IsZero)
            return (ErrorCode.InvalidRequest, "You may not specify both topic name and topic id.", null);
        if (name is null && id.IsZero)
            return (ErrorCode.InvalidRequest, "Neither topic name nor id were specified.", null);
        if (name is null)
            return ids[id] > 1 ? (ErrorCode.InvalidRequest, "Duplicate topic id.", null)
                : topics.Find(id) is { } byId ? (ErrorCode.None, null, byId)
                : (ErrorCode.UnknownTopicId, Texts.UnknownTopicId, null);
        if (names[name] > 1)
            return (ErrorCode.InvalidRequest, Texts.DuplicateTopic, null);
        if (topics.Find(name) is not { } topic)
            return (ErrorCode.UnknownTopicOrPartition, Texts.UnknownTopicOrPartition, null);
        return ids.ContainsKey(topic.Id)
            ? (ErrorCode.InvalidRequest, "The provided topic name maps to an ID that was already supplied.", topic)
            : (ErrorCode.None, null, topic);
    }

    private static List<MetadataRecord> Add(ControlState state, CreatePartitionsRequest.CreatePartitionsTopic asked)
    {
        var topic = state.Image.Topics.Find(asked.Name)
            ?? throw new RefusedException(ErrorCode.UnknownTopicOrPartition, null);
        var current = topic.Partitions.Length;
        if (asked.Count == current)
            throw new RefusedException(ErrorCode.InvalidPartitions, $"Topic already has {current} partition(s).");
        if (asked.Count < current)
            throw new RefusedException(ErrorCode.InvalidPartitions,
                $"The topic {asked.Name} currently has {current} partition(s); {asked.Count} would not be an "
                + "increase.");
        var additional = asked.Count - current;
        if (additional > Texts.MaxPartitionsPerRequest)
            throw new RefusedException(ErrorCode.PolicyViolation, Texts.TooManyPartitions);
        if (asked.Assignments is { } manual && manual.Count != additional)
            throw new RefusedException(ErrorCode.InvalidReplicaAssignment,
                $"Attempted to add {additional} additional partition(s), but only {manual.Count} assignment(s) "
                + "were specified.");
        var factor = topic.Partitions[0].Replicas.Length;
        foreach (var assignment in asked.Assignments ?? [])
            ReplicaPlacement.CheckManual(state, assignment.BrokerIds, factor);
        var placements = asked.Assignments is { } chosen
            ? [.. chosen.Select(a => ImmutableArray.CreateRange(a.BrokerIds))]
            : ReplicaPlacement.Place(state, current, additional, factor);
        return [.. placements.Select((replicas, i) =>
            ReplicaPlacement.NewPartition(state, topic.Id, current + i, replicas))];
    }
}
