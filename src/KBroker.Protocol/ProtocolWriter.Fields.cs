using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using KBroker.Protocol.Messages;

namespace KBroker.Protocol;

/// <content>Fields with a length before them: strings, bytes, records, arrays, tagged fields.</content>
public sealed partial class ProtocolWriter
{
    /// <summary>A string that must not be null.</summary>
    public void WriteString(
        string? value, bool flexible, [CallerArgumentExpression(nameof(value))] string? name = null)
    {
        if (value is null) throw NullNotAllowed(name);
        WriteNullableString(value, flexible, name);
    }

    /// <summary>A string, or null.</summary>
    public void WriteNullableString(
        string? value, bool flexible, [CallerArgumentExpression(nameof(value))] string? name = null)
    {
        int length = value is null ? -1 : Encoding.UTF8.GetByteCount(value);
        if (length > ProtocolReader.MaxStringBytes)
            throw new InvalidOperationException($"{name} has {length} bytes, more than a string may have.");
        if (flexible) WriteUnsignedVarint((uint)(length + 1));
        else WriteInt16((short)length);
        if (length <= 0) return;
        Ensure(length);
        _position += Encoding.UTF8.GetBytes(value, _chunk.AsSpan(_position));
    }

    /// <summary>Bytes that must not be null.</summary>
    public void WriteBytes(
        ReadOnlyMemory<byte>? value, bool flexible, [CallerArgumentExpression(nameof(value))] string? name = null)
    {
        if (value is null) throw NullNotAllowed(name);
        WriteNullableBytes(value, flexible);
    }

    /// <summary>Bytes, or null.</summary>
    public void WriteNullableBytes(ReadOnlyMemory<byte>? value, bool flexible)
    {
        WriteArrayCount(value?.Length ?? -1, flexible);
        if (value is { } bytes) WriteRaw(bytes.Span);
    }

    /// <summary>Records that must not be null; null is written as no records.</summary>
    public void WriteRecords(Records.Records? value, bool flexible) =>
        WriteNullableRecords(value ?? Records.Records.Empty, flexible);

    /// <summary>
    /// Records, or null. Files, and memory from <see cref="CopyRecordsBelow"/> bytes up, become segments of their own;
    /// the memory must stay unchanged until the segments were sent.
    /// </summary>
    public void WriteNullableRecords(Records.Records? value, bool flexible)
    {
        WriteArrayCount(value?.SizeInBytes ?? -1, flexible);
        if (value is { } records) WriteRecords(records);
    }

    /// <summary>Records without a length before them, as <see cref="WriteNullableRecords"/> writes them.</summary>
    public void WriteRecords(Records.Records records)
    {
        for (int i = 0; i < records.PartCount; i++)
        {
            var part = records[i];
            if (part.Region is not null)
            {
                Add(new OutputSegment(part.Region));
                continue;
            }

            bool copy = part.Bytes.Length < CopyRecordsBelow;
            foreach (var memory in part.Bytes)
            {
                if (copy) WriteRaw(memory.Span);
                else Add(new OutputSegment(memory));
            }
        }
    }

    /// <summary>The number of elements of an array, or the length of bytes; -1 for null.</summary>
    public void WriteArrayCount(int count, bool flexible)
    {
        if (flexible) WriteUnsignedVarint((uint)(count + 1));
        else WriteInt32(count);
    }

    /// <summary>An array of int8; null is written as an empty one.</summary>
    public void WriteInt8List(List<sbyte>? list, bool flexible) => WriteNullableInt8List(list ?? [], flexible);

    /// <summary>An array of int8, or null.</summary>
    public void WriteNullableInt8List(List<sbyte>? list, bool flexible)
    {
        WriteArrayCount(list?.Count ?? -1, flexible);
        if (list is not null) WriteRaw(MemoryMarshal.AsBytes(CollectionsMarshal.AsSpan(list)));
    }

    /// <summary>An array of int16; null is written as an empty one.</summary>
    public void WriteInt16List(List<short>? list, bool flexible)
    {
        WriteArrayCount(list?.Count ?? 0, flexible);
        foreach (short item in CollectionsMarshal.AsSpan(list)) WriteInt16(item);
    }

    /// <summary>An array of int16, or null.</summary>
    public void WriteNullableInt16List(List<short>? list, bool flexible)
    {
        if (list is null) WriteArrayCount(-1, flexible);
        else WriteInt16List(list, flexible);
    }

    /// <summary>An array of int32; null is written as an empty one.</summary>
    public void WriteInt32List(List<int>? list, bool flexible)
    {
        WriteArrayCount(list?.Count ?? 0, flexible);
        foreach (int item in CollectionsMarshal.AsSpan(list)) WriteInt32(item);
    }

    /// <summary>An array of int32, or null.</summary>
    public void WriteNullableInt32List(List<int>? list, bool flexible)
    {
        if (list is null) WriteArrayCount(-1, flexible);
        else WriteInt32List(list, flexible);
    }

    /// <summary>An array of int64; null is written as an empty one.</summary>
    public void WriteInt64List(List<long>? list, bool flexible)
    {
        WriteArrayCount(list?.Count ?? 0, flexible);
        foreach (long item in CollectionsMarshal.AsSpan(list)) WriteInt64(item);
    }

    /// <summary>An array of int64, or null.</summary>
    public void WriteNullableInt64List(List<long>? list, bool flexible)
    {
        if (list is null) WriteArrayCount(-1, flexible);
        else WriteInt64List(list, flexible);
    }

    /// <summary>An array of UUIDs; null is written as an empty one.</summary>
    public void WriteUuidList(List<Uuid>? list, bool flexible)
    {
        WriteArrayCount(list?.Count ?? 0, flexible);
        foreach (var item in CollectionsMarshal.AsSpan(list)) WriteUuid(item);
    }

    /// <summary>An array of UUIDs, or null.</summary>
    public void WriteNullableUuidList(List<Uuid>? list, bool flexible)
    {
        if (list is null) WriteArrayCount(-1, flexible);
        else WriteUuidList(list, flexible);
    }

    /// <summary>An array of strings; null is written as an empty one.</summary>
    public void WriteStringList(List<string>? list, bool flexible)
    {
        WriteArrayCount(list?.Count ?? 0, flexible);
        foreach (string item in CollectionsMarshal.AsSpan(list)) WriteString(item, flexible);
    }

    /// <summary>An array of strings, or null.</summary>
    public void WriteNullableStringList(List<string>? list, bool flexible)
    {
        if (list is null) WriteArrayCount(-1, flexible);
        else WriteStringList(list, flexible);
    }

    /// <summary>
    /// Starts a tagged field. Its size is not known yet: one byte is left for it, which is enough below 128 bytes;
    /// <see cref="EndTaggedField"/> moves the content when it is not.
    /// </summary>
    public void BeginTaggedField(int tag, out TagMark mark)
    {
        WriteUnsignedVarint((uint)tag);
        Ensure(1);
        mark = new TagMark(_chunk, _position, TotalBytes);
        _position++;
    }

    /// <summary>Ends a tagged field and fills in its size.</summary>
    public void EndTaggedField(TagMark mark)
    {
        int size = (int)(TotalBytes - mark.Before) - 1;
        if (size < 0x80)
        {
            mark.Chunk[mark.Position] = (byte)size;
            return;
        }

        byte[] content = ArrayPool<byte>.Shared.Rent(size);
        TakeBack(mark, content.AsSpan(0, size));
        WriteUnsignedVarint((uint)size);
        WriteRaw(content.AsSpan(0, size));
        ArrayPool<byte>.Shared.Return(content);
    }

    /// <summary>The number of unknown tagged fields, and each of them.</summary>
    public void WriteUnknownTaggedFields(List<UnknownTaggedField>? fields)
    {
        WriteUnsignedVarint((uint)(fields?.Count ?? 0));
        WriteUnknownTaggedFieldsBelow(fields, 0, int.MaxValue);
    }

    /// <summary>Writes unknown tagged fields in order while their tags are below a known one.</summary>
    /// <returns>The index of the first field not written.</returns>
    public int WriteUnknownTaggedFieldsBelow(List<UnknownTaggedField>? fields, int from, int tag)
    {
        if (fields is null) return from;
        for (; from < fields.Count && (fields[from].Tag < tag || tag == int.MaxValue); from++)
        {
            var field = fields[from];
            WriteUnsignedVarint((uint)field.Tag);
            WriteUnsignedVarint((uint)field.Data.Length);
            WriteRaw(field.Data.Span);
        }

        return from;
    }

    internal static InvalidOperationException NullNotAllowed(string? name, short? version = null) =>
        new($"{name} is null, which {(version is null ? "it" : $"version {version}")} does not allow.");

    internal static ArgumentOutOfRangeException NoSuchVersion(string message, short version) =>
        new(nameof(version), $"{message} has no version {version}.");

    /// <summary>Copies what was written behind a mark, and forgets it. It holds bytes only, no records.</summary>
    private void TakeBack(TagMark mark, Span<byte> content)
    {
        CloseSegment();
        int first = _segments.Count;
        long start = _closed;
        while (start > mark.Before) start -= _segments[--first].Length;
        var kept = _segments[first].Bytes[..(int)(mark.Before - start)];
        int skip = kept.Length + 1;
        for (int i = first; i < _segments.Count; i++)
        {
            var bytes = _segments[i].Bytes.Span[skip..];
            bytes.CopyTo(content);
            content = content[bytes.Length..];
            skip = 0;
        }

        // The chunk that is filled now goes on being filled; those before it stay with their kept part.
        _segments.RemoveRange(first, _segments.Count - first);
        if (kept.Length > 0) _segments.Add(new OutputSegment(kept));
        _closed = mark.Before;
        _open = _position = ReferenceEquals(mark.Chunk, _chunk) ? mark.Position : 0;
    }

    /// <summary>Where the size of a tagged field goes.</summary>
    public readonly struct TagMark
    {
        internal TagMark(byte[] chunk, int position, long before)
        {
            Chunk = chunk;
            Position = position;
            Before = before;
        }

        internal byte[] Chunk { get; }

        internal int Position { get; }

        internal long Before { get; }
    }
}
