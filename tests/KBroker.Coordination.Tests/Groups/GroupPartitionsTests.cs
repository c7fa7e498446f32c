using KBroker.Coordination.Groups;

namespace KBroker.Coordination.Tests.Groups;

public sealed class GroupPartitionsTests
{
    [Theory]
    [InlineData("", 0)]
    [InlineData("test", 48)]
    [InlineData("my-group", 12)]
    [InlineData("kafka-g", 0)]
    [InlineData("größe", 7)]
    [InlineData("😀 group", 6)]
    [InlineData("polygenelubricants", 0)]
    public void A_group_belongs_to_the_partition_that_kafka_computes(string groupId, int partition) =>
        Assert.Equal(partition, GroupPartitions.Of(groupId, 50));

    [Fact]
    public void There_is_no_partition_without_partitions() =>
        Assert.Throws<ArgumentOutOfRangeException>(() => GroupPartitions.Of("g", 0));
}
