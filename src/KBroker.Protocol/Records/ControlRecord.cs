using System.Buffers.Binary;

namespace KBroker.Protocol.Records;

/// <summary>What a control record says; the number is in its key.</summary>
public enum ControlRecordType : short
{
    /// <summary>The producer's transaction was aborted.</summary>
    Abort = 0,

    /// <summary>The producer's transaction was committed.</summary>
    Commit = 1,

    /// <summary>Metadata log: a new leader took over.</summary>
    LeaderChange = 2,

    /// <summary>Metadata snapshot: first record.</summary>
    SnapshotHeader = 3,

    /// <summary>Metadata snapshot: last record.</summary>
    SnapshotFooter = 4,

    /// <summary>Metadata log: the KRaft version.</summary>
    KRaftVersion = 5,

    /// <summary>Metadata log: the set of voters.</summary>
    KRaftVoters = 6,
}

/// <summary>The keys and values of control records.</summary>
/// <remarks>
/// The key is int16 version (0), int16 type. The value of a transaction marker is int16 version (0), int32 epoch of the
/// coordinator that wrote it; that of the others is a message of the metadata log.
/// </remarks>
public static class ControlRecord
{
    /// <summary>Bytes of a key.</summary>
    public const int KeyBytes = 4;

    /// <summary>Bytes of a transaction marker's value.</summary>
    public const int EndTransactionValueBytes = 6;

    /// <summary>Makes a key.</summary>
    /// <param name="type">Any number; consumers skip those they do not know.</param>
    /// <returns>The key.</returns>
    public static byte[] Key(ControlRecordType type)
    {
        var key = new byte[KeyBytes];
        BinaryPrimitives.WriteInt16BigEndian(key.AsSpan(2), (short)type);
        return key;
    }

    /// <summary>Makes the value of a commit or abort marker.</summary>
    /// <param name="coordinatorEpoch">Leader epoch of the transaction coordinator's partition.</param>
    /// <returns>The value.</returns>
    public static byte[] EndTransactionValue(int coordinatorEpoch)
    {
        var value = new byte[EndTransactionValueBytes];
        BinaryPrimitives.WriteInt32BigEndian(value.AsSpan(2), coordinatorEpoch);
        return value;
    }

    /// <summary>Reads a key. Later versions may have more bytes, and types not known here.</summary>
    /// <param name="key">Of a record in a control batch.</param>
    /// <param name="type">The type.</param>
    /// <returns>False when the key is null, shorter than four bytes, or has a negative version.</returns>
    public static bool TryParseKey(ReadOnlyMemory<byte>? key, out ControlRecordType type)
    {
        type = default;
        if (key is not { Length: >= KeyBytes } bytes || BinaryPrimitives.ReadInt16BigEndian(bytes.Span) < 0)
            return false;
        type = (ControlRecordType)BinaryPrimitives.ReadInt16BigEndian(bytes.Span[2..]);
        return true;
    }

    /// <summary>Reads the coordinator epoch of a commit or abort marker.</summary>
    /// <param name="value">Of that record.</param>
    /// <param name="coordinatorEpoch">The epoch.</param>
    /// <returns>False when the value is null or shorter than six bytes.</returns>
    public static bool TryParseEndTransactionValue(ReadOnlyMemory<byte>? value, out int coordinatorEpoch)
    {
        coordinatorEpoch = -1;
        if (value is not { Length: >= EndTransactionValueBytes } bytes)
            return false;
        coordinatorEpoch = BinaryPrimitives.ReadInt32BigEndian(bytes.Span[2..]);
        return true;
    }
}
