using KBroker.Coordination.Groups.Consumer.State;

namespace KBroker.Coordination.Groups.Consumer.Assignors;

/// <summary>
/// All partitions of some topics in one array, topic after topic, with the member (its index) that gets each: the
/// working table of <see cref="UniformAssignor"/>.
/// </summary>
internal sealed class PartitionTable
{
    /// <summary>Marks a partition that nobody has yet.</summary>
    public const int Nobody = -1;

    private readonly Dictionary<KBroker.Protocol.Uuid, int> _topicIndex = [];
    private readonly int[] _starts;
    private readonly int[] _owners;

    /// <summary>Makes a table in which nobody has anything.</summary>
    /// <param name="topics">The topics.</param>
    public PartitionTable(AssignableTopic[] topics)
    {
        Topics = topics;
        _starts = new int[topics.Length + 1];
        for (var i = 0; i < topics.Length; i++)
        {
            _topicIndex.Add(topics[i].Id, i);
            _starts[i + 1] = _starts[i] + topics[i].PartitionCount;
        }

        _owners = new int[_starts[^1]];
        Array.Fill(_owners, Nobody);
    }

    /// <summary>The topics.</summary>
    public AssignableTopic[] Topics { get; }

    /// <summary>Number of partitions of all topics.</summary>
    public int Count => _owners.Length;

    /// <summary>The owner of a partition, by its place in the table.</summary>
    /// <param name="place">The place.</param>
    public ref int Owner(int place) => ref _owners[place];

    /// <summary>The first place of a topic; the next topic's is behind its last.</summary>
    /// <param name="topic">The topic's index.</param>
    public int StartOf(int topic) => _starts[topic];

    /// <summary>The index of a topic.</summary>
    /// <param name="topic">The topic.</param>
    public int IndexOf(AssignableTopic topic) => _topicIndex[topic.Id];

    /// <summary>The places of what a member was to own until now, as far as it still may: the topic exists, has that
    /// partition, and the member is subscribed to it.</summary>
    /// <param name="member">The member.</param>
    public IEnumerable<int> CurrentPlaces(AssignmentMember member)
    {
        foreach (var topic in member.Topics)
        {
            var start = _starts[_topicIndex[topic.Id]];
            foreach (var partition in member.Current.Of(topic.Id).Partitions)
            {
                if (partition < topic.PartitionCount)
                    yield return start + partition;
            }
        }
    }

    /// <summary>Reads the assignment of every member out of the table.</summary>
    /// <param name="memberCount">Number of members.</param>
    public PartitionAssignment[] ToAssignments(int memberCount)
    {
        var slices = new List<TopicSlice>[memberCount];
        for (var i = 0; i < memberCount; i++)
            slices[i] = [];
        var parts = new Dictionary<int, List<int>>();
        for (var topic = 0; topic < Topics.Length; topic++)
        {
            parts.Clear();
            for (var place = _starts[topic]; place < _starts[topic + 1]; place++)
            {
                if (_owners[place] == Nobody)
                    continue;
                if (!parts.TryGetValue(_owners[place], out var part))
                    parts.Add(_owners[place], part = []);
                part.Add(place - _starts[topic]);
            }

            foreach (var (member, part) in parts)
                slices[member].Add(new TopicSlice(Topics[topic].Id, [.. part], []));
        }

        return Array.ConvertAll(slices, PartitionAssignment.Of);
    }
}
