using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Tests.Runtime;

/// <summary>The bytes are those that Apache Kafka 4.3.1 has written to its own <c>__consumer_offsets</c>.</summary>
public sealed class CoordinatorRecordCodecTests
{
    private const string Key = "00010002673100017400000001";
    private const string Value =
        "00040000000000000000ffffffff01000001a1ff2d8183010010479ad80dbb824e8ebabfa50108e5addf";

    [Fact]
    public void An_offset_is_written_as_kafka_writes_it()
    {
        var key = new OffsetCommitKey { Group = "g1", Topic = "t", Partition = 1 };
        var value = new OffsetCommitValue
        {
            Offset = 0,
            LeaderEpoch = -1,
            Metadata = "",
            CommitTimestamp = 1795282534787,
            TopicId = Uuid.Parse("R5rYDbuCTo66v6UBCOWt3w"),
        };
        Assert.Equal(Key, Hex(writer => CoordinatorRecordCodec.WriteKey(writer, key)));
        Assert.Equal(Value, Hex(writer => CoordinatorRecordCodec.WriteValue(writer, value, 4)));
    }

    [Fact]
    public void An_offset_of_kafka_is_read()
    {
        var codec = CoordinatorRecordCodec.Groups;
        var bytes = Convert.FromHexString(Key);
        Assert.Equal(1, CoordinatorRecordCodec.TypeOf(bytes));
        var key = Assert.IsType<OffsetCommitKey>(codec.ReadKey(bytes));
        Assert.Equal(("g1", "t", 1), (key.Group, key.Topic, key.Partition));
        var value = Assert.IsType<OffsetCommitValue>(codec.ReadValue(1, Convert.FromHexString(Value)));
        Assert.Equal(
            (0L, -1, "", 1795282534787L, -1L, "R5rYDbuCTo66v6UBCOWt3w"),
            (value.Offset, value.LeaderEpoch, value.Metadata, value.CommitTimestamp, value.ExpireTimestamp,
                value.TopicId.ToString()));
    }

    [Theory]
    [InlineData("0000000267310001740000000", typeof(LegacyOffsetCommitKey))]
    [InlineData("00020002673", typeof(GroupMetadataKey))]
    [InlineData("00030002673", typeof(ConsumerGroupMetadataKey))]
    public void The_type_of_a_key_says_what_it_is(string start, Type type) =>
        Assert.IsType(type, CoordinatorRecordCodec.Groups.ReadKey(Convert.FromHexString(start + "1")));

    [Fact]
    public void A_transaction_has_the_types_of_its_own_log() => Assert.Equal(
        "id", Assert.IsType<TransactionLogKey>(
            CoordinatorRecordCodec.Transactions.ReadKey(Convert.FromHexString("000000026964"))).TransactionalId);

    [Fact]
    public void Unknown_types_are_null_and_malformed_records_are_refused()
    {
        var codec = CoordinatorRecordCodec.Groups;
        Assert.Null(codec.ReadKey(Convert.FromHexString("7fff01")));
        Assert.Throws<ProtocolException>(() => codec.ReadKey(Convert.FromHexString("000100")));
        Assert.Throws<ProtocolException>(() => codec.ReadKey(Convert.FromHexString("00")));
        Assert.Throws<ProtocolException>(() => CoordinatorRecordCodec.TypeOf([0]));
        Assert.Throws<ProtocolException>(() => codec.ReadValue(1, Convert.FromHexString("0005")));
        Assert.Throws<ProtocolException>(() => codec.ReadValue(1, Convert.FromHexString(Value[..20])));
        Assert.Throws<ProtocolException>(() => codec.ReadValue(99, Convert.FromHexString("0000")));
    }

    private static string Hex(Action<ProtocolWriter> write)
    {
        using var writer = new ProtocolWriter();
        write(writer);
        return Convert.ToHexStringLower(writer.ToArray());
    }
}
