using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Groups.Offsets;

/// <summary>A partition of which a group has an offset.</summary>
/// <param name="GroupId">The group.</param>
/// <param name="Topic">The topic's name.</param>
/// <param name="Partition">The partition.</param>
internal readonly record struct OffsetKey(string GroupId, string Topic, int Partition)
{
    /// <summary>The key of its records.</summary>
    public OffsetCommitKey ToKey() => new() { Group = GroupId, Topic = Topic, Partition = Partition };
}

/// <summary>A committed position.</summary>
/// <param name="Offset">The next offset to read.</param>
/// <param name="LeaderEpoch">The leader epoch of the record before it, as the client knows it; -1 when it does
/// not.</param>
/// <param name="Metadata">The client's own note.</param>
/// <param name="CommitTimestampMs">When it was committed.</param>
/// <param name="ExpireTimestampMs">When it expires (asked for by OffsetCommit 2 to 4); -1 for the broker's
/// retention.</param>
/// <param name="TopicId">The topic's id, or zero when the client gave none.</param>
/// <param name="RecordOffset">Offset of its record in <c>__consumer_offsets</c>.</param>
internal readonly record struct CommittedOffset(
    long Offset,
    int LeaderEpoch,
    string Metadata,
    long CommitTimestampMs,
    long ExpireTimestampMs,
    Uuid TopicId,
    long RecordOffset)
{
    /// <summary>
    /// Kafka 4.3 writes version 4, and 1 where the client set the retention: only that version has its field.
    /// </summary>
    public short ValueVersion => ExpireTimestampMs >= 0 ? (short)1 : (short)4;

    /// <summary>Reads a record's value.</summary>
    /// <param name="value">An <see cref="OffsetCommitValue"/> or a <see cref="LegacyOffsetCommitValue"/>.</param>
    /// <param name="recordOffset">Where the record stands.</param>
    public static CommittedOffset Of(IRecordMessage value, long recordOffset) => value is OffsetCommitValue commit
        ? new CommittedOffset(
            commit.Offset, commit.LeaderEpoch, commit.Metadata, commit.CommitTimestamp, commit.ExpireTimestamp,
            commit.TopicId, recordOffset)
        : Of((LegacyOffsetCommitValue)value, recordOffset);

    /// <summary>The value of its record.</summary>
    public OffsetCommitValue ToValue() => new()
    {
        Offset = Offset,
        LeaderEpoch = LeaderEpoch,
        Metadata = Metadata,
        CommitTimestamp = CommitTimestampMs,
        ExpireTimestamp = ExpireTimestampMs,
        TopicId = TopicId,
    };

    private static CommittedOffset Of(LegacyOffsetCommitValue value, long recordOffset) => new(
        value.Offset, -1, value.Metadata, value.CommitTimestamp, -1, Uuid.Zero, recordOffset);
}
