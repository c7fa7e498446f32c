using KBroker.Coordination.Groups.Consumer.Assignors;
using KBroker.Coordination.Groups.Consumer.State;
using KBroker.Protocol;

namespace KBroker.Coordination.Tests.Consumer;

public sealed class AssignorTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Members_that_want_the_same_get_the_same_number_and_keep_what_they_had(int seed)
    {
        var random = new Random(seed);
        AssignableTopic[] topics = [new(new Uuid(1, 1), 1000), new(new Uuid(1, 2), 337)];
        var members = Members(300, _ => topics);
        var first = new UniformAssignor().Assign(members);
        AssertComplete(topics, first);
        Assert.InRange(first.Max(static a => a.PartitionCount) - first.Min(static a => a.PartitionCount), 0, 1);

        // Some leave: nobody who stays loses a partition.
        var staying = members.Zip(first, static (m, a) => m with { Current = a })
            .Where(_ => random.Next(10) > 0).ToList();
        var second = new UniformAssignor().Assign(staying);
        AssertComplete(topics, second);
        for (var i = 0; i < staying.Count; i++)
        {
            foreach (var topic in staying[i].Current.Topics)
                Assert.All(topic.Partitions, p => Assert.True(second[i].Contains(topic.TopicId, p), $"seed {seed}"));
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Members_that_want_different_topics_are_as_even_as_one_move_can_make_them(int seed)
    {
        var random = new Random(seed);
        var all = Enumerable.Range(0, 40).Select(i => new AssignableTopic(new Uuid(1, i + 1), random.Next(1, 40)))
            .ToArray();
        var members = Members(
            100, _ => [.. all.Where(topic => topic == all[0] || random.Next(3) == 0)]);
        var result = new UniformAssignor().Assign(members);
        AssertComplete([.. members.SelectMany(static m => m.Topics).Distinct()], result);
        for (var i = 0; i < members.Count; i++)
        {
            foreach (var topic in result[i].Topics)
            {
                Assert.Contains(members[i].Topics, t => t.Id == topic.TopicId);
                for (var j = 0; j < members.Count; j++)
                {
                    if (members[j].Topics.Any(t => t.Id == topic.TopicId))
                        Assert.True(result[i].PartitionCount - result[j].PartitionCount < 2, $"seed {seed}");
                }
            }
        }
    }

    [Fact]
    public void Ranges_are_cut_alike_in_all_topics_and_static_members_keep_theirs()
    {
        AssignableTopic[] topics = [new(new Uuid(1, 1), 5), new(new Uuid(1, 2), 5)];
        AssignmentMember[] members =
        [
            new("z", "instance-1", topics, PartitionAssignment.Empty),
            new("b", null, topics, PartitionAssignment.Empty),
            new("a", null, topics, PartitionAssignment.Empty),
        ];
        var result = new RangeAssignor().Assign(members);
        AssertComplete(topics, result);
        foreach (var topic in topics)
        {
            Assert.Equal([0, 1], result[0].Of(topic.Id).Partitions);
            Assert.Equal([2, 3], result[2].Of(topic.Id).Partitions);
            Assert.Equal([4], result[1].Of(topic.Id).Partitions);
        }

        members[0] = members[0] with { MemberId = "0" };
        Assert.Equal(result, new RangeAssignor().Assign(members));
    }

    private static List<AssignmentMember> Members(int count, Func<int, AssignableTopic[]> topics) =>
        [.. Enumerable.Range(0, count).Select(
            i => new AssignmentMember($"m{i}", null, topics(i), PartitionAssignment.Empty))];

    private static void AssertComplete(AssignableTopic[] topics, PartitionAssignment[] result)
    {
        foreach (var topic in topics)
        {
            Assert.Equal(
                Enumerable.Range(0, topic.PartitionCount),
                result.SelectMany(a => a.Of(topic.Id).Partitions).Order());
        }
    }
}
