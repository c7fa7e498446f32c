using System.Buffers.Binary;

namespace KBroker.Crash.History;

/// <summary>Which record: its producer, and the how manieth of that producer it is.</summary>
internal readonly record struct RecordId(int Producer, int Sequence)
{
    private const int IdBytes = 8;
    private const int MaxFillBytes = 400;

    public override string ToString() => $"p{Producer}/{Sequence}";

    /// <summary>The record's value, which follows from its identity alone, so that every byte of it can be checked.</summary>
    public byte[] ToValue()
    {
        var state = unchecked(((ulong)(uint)Producer << 32 | (uint)Sequence) * 0x9E3779B97F4A7C15 + 1);
        var value = new byte[IdBytes + (int)(state >> 33) % MaxFillBytes];
        BinaryPrimitives.WriteInt32BigEndian(value, Producer);
        BinaryPrimitives.WriteInt32BigEndian(value.AsSpan(4), Sequence);
        // Half of it repeats, so that codecs have something to do.
        var fill = value.AsSpan(IdBytes);
        var position = 0;
        for (; position + sizeof(ulong) <= fill.Length / 2; position += sizeof(ulong))
        {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            BinaryPrimitives.WriteUInt64BigEndian(fill[position..], state);
        }

        fill[position..].Fill((byte)Sequence);
        return value;
    }

    /// <summary>The identity in a value.</summary>
    /// <returns>Null when the value is not what <see cref="ToValue"/> makes.</returns>
    public static RecordId? FromValue(ReadOnlySpan<byte> value)
    {
        if (value.Length < IdBytes)
            return null;
        var id = new RecordId(
            BinaryPrimitives.ReadInt32BigEndian(value), BinaryPrimitives.ReadInt32BigEndian(value[4..]));
        return id.ToValue().AsSpan().SequenceEqual(value) ? id : null;
    }
}

/// <summary>A record that was found in a log.</summary>
/// <param name="Offset">Where.</param>
/// <param name="Id">Which; null when its bytes are not those of any record that was sent.</param>
/// <param name="Key">Its key, of a compacted topic.</param>
/// <param name="IsTombstone">It has a key and no value; its identity is in a header.</param>
internal readonly record struct FoundRecord(long Offset, RecordId? Id, string? Key = null, bool IsTombstone = false);

/// <summary>All that one look at a partition found.</summary>
/// <param name="StartOffset">The log's start before the look.</param>
/// <param name="StartOffsetAfter">And after it: what was between may have gone meanwhile.</param>
/// <param name="EndOffset">The end that was read up to.</param>
/// <param name="Records">In the order of the log.</param>
internal sealed record Observation(
    long StartOffset, long StartOffsetAfter, long EndOffset, IReadOnlyList<FoundRecord> Records)
{
    /// <summary>How long <c>delete.retention.ms</c> keeps a tombstone for readers.</summary>
    public static readonly TimeSpan TombstonesStay = TimeSpan.FromSeconds(2);

    /// <summary>
    /// How long the look took. Who takes longer than <see cref="TombstonesStay"/> may read a record, and come too late
    /// for its tombstone.
    /// </summary>
    public TimeSpan Took { get; init; }
}
