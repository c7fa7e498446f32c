using System.Buffers.Binary;
using KBroker.Protocol.Records;
using KBroker.Storage.Files;

namespace KBroker.Storage.Producers;

/// <summary>One producer as a snapshot holds it.</summary>
internal readonly record struct ProducerSnapshotEntry(
    long ProducerId,
    short Epoch,
    int LastSequence,
    long LastOffset,
    int OffsetDelta,
    long Timestamp,
    int CoordinatorEpoch,
    long CurrentTransactionFirstOffset);

/// <summary>
/// <c>&lt;offset&gt;.snapshot</c>: what is known of the producers when everything below the offset is in the log.
/// </summary>
/// <remarks>
/// <para>
/// Big-endian: int16 version (1); uint32 CRC-32C of everything behind it; int32 number of entries; then per
/// producer int64
/// producer id, int16 epoch, int32 last sequence, int64 last offset, int32 offset delta of the last batch, int64 its
/// timestamp, int32 coordinator epoch, int64 first offset of the open transaction (-1 without one): 46 bytes.
/// </para>
/// <para>
/// Written at each roll and when the log is closed, under its final name. A crash may tear it: then the CRC does not
/// hold, the file is dropped, and the next older one is taken, from whose offset the log is read again.
/// </para>
/// </remarks>
internal static class ProducerSnapshotFile
{
    /// <summary>Bytes before the entries.</summary>
    public const int HeaderSize = 10;

    /// <summary>Bytes of an entry.</summary>
    public const int EntrySize = 46;

    private const short Version = 1;
    private const int CrcStart = 2;
    private const int CrcEnd = 6;

    /// <summary>The bytes of a snapshot.</summary>
    public static byte[] Encode(IReadOnlyCollection<ProducerSnapshotEntry> entries)
    {
        var bytes = new byte[HeaderSize + (entries.Count * EntrySize)];
        BinaryPrimitives.WriteInt16BigEndian(bytes, Version);
        BinaryPrimitives.WriteInt32BigEndian(bytes.AsSpan(CrcEnd), entries.Count);
        var rest = bytes.AsSpan(HeaderSize);
        foreach (var entry in entries)
        {
            BinaryPrimitives.WriteInt64BigEndian(rest, entry.ProducerId);
            BinaryPrimitives.WriteInt16BigEndian(rest[8..], entry.Epoch);
            BinaryPrimitives.WriteInt32BigEndian(rest[10..], entry.LastSequence);
            BinaryPrimitives.WriteInt64BigEndian(rest[14..], entry.LastOffset);
            BinaryPrimitives.WriteInt32BigEndian(rest[22..], entry.OffsetDelta);
            BinaryPrimitives.WriteInt64BigEndian(rest[26..], entry.Timestamp);
            BinaryPrimitives.WriteInt32BigEndian(rest[34..], entry.CoordinatorEpoch);
            BinaryPrimitives.WriteInt64BigEndian(rest[38..], entry.CurrentTransactionFirstOffset);
            rest = rest[EntrySize..];
        }

        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(CrcStart), Crc32C.Compute(bytes.AsSpan(CrcEnd)));
        return bytes;
    }

    /// <summary>Reads the bytes of a snapshot.</summary>
    /// <returns>The entries, or null when the bytes are damaged.</returns>
    public static List<ProducerSnapshotEntry>? Decode(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < HeaderSize || BinaryPrimitives.ReadInt16BigEndian(bytes) != Version)
            return null;
        if (BinaryPrimitives.ReadUInt32BigEndian(bytes[CrcStart..]) != Crc32C.Compute(bytes[CrcEnd..]))
            return null;
        var count = BinaryPrimitives.ReadInt32BigEndian(bytes[CrcEnd..]);
        var rest = bytes[HeaderSize..];
        if (count < 0 || rest.Length != (long)count * EntrySize)
            return null;
        var entries = new List<ProducerSnapshotEntry>(count);
        for (; rest.Length > 0; rest = rest[EntrySize..])
        {
            entries.Add(new ProducerSnapshotEntry(
                BinaryPrimitives.ReadInt64BigEndian(rest),
                BinaryPrimitives.ReadInt16BigEndian(rest[8..]),
                BinaryPrimitives.ReadInt32BigEndian(rest[10..]),
                BinaryPrimitives.ReadInt64BigEndian(rest[14..]),
                BinaryPrimitives.ReadInt32BigEndian(rest[22..]),
                BinaryPrimitives.ReadInt64BigEndian(rest[26..]),
                BinaryPrimitives.ReadInt32BigEndian(rest[34..]),
                BinaryPrimitives.ReadInt64BigEndian(rest[38..])));
        }

        return entries;
    }

    /// <summary>Writes a snapshot file; it is flushed with its log.</summary>
    public static void Write(IFileSystem files, string path, IReadOnlyCollection<ProducerSnapshotEntry> entries)
    {
        using var file = files.Open(path, FileOpenMode.OpenOrCreate);
        if (file.Length > 0)
            file.SetLength(0);
        file.Write(Encode(entries), 0);
    }

    /// <summary>Puts a snapshot file on stable storage.</summary>
    public static void Flush(IFileSystem files, string path)
    {
        using var file = files.Open(path, FileOpenMode.Open);
        file.Flush();
    }
}
