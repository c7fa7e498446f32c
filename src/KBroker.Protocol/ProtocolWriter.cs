using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using KBroker.Protocol.Messages;

namespace KBroker.Protocol;

/// <summary>
/// Writes the protocol's wire forms (see <see cref="ProtocolReader"/>) into pooled chunks. Records are not copied: they
/// become segments of their own, between those of the bytes around them, so that <see cref="Segments"/> is what to
/// send, in order.
/// </summary>
/// <remarks>
/// Not for several threads at once. <see cref="Reset"/> makes it usable again, which saves the chunk; it, and
/// <see cref="Dispose"/>, give the chunks back to the pool and dispose the file regions: the writer owns
/// what was written to it until then. Memory records are referenced, never owned.
/// </remarks>
public sealed class ProtocolWriter : IBufferWriter<byte>, IDisposable
{
    /// <summary>Memory records below this many bytes are copied: a segment of their own would cost more.</summary>
    public const int CopyRecordsBelow = 1024;

    private const int FirstChunk = 1024;
    private const int LargestChunk = 64 * 1024;

    private readonly List<byte[]> _chunks = [];
    private readonly List<OutputSegment> _segments = [];
    private byte[] _chunk = [];
    private int _open;
    private int _position;
    private long _closed;

    /// <summary>Bytes written so far, records included.</summary>
    public long TotalBytes => _closed + _position - _open;

    /// <summary>
    /// What was written, in order. Valid until the next write, <see cref="Reset"/> or <see cref="Dispose"/>.
    /// </summary>
    public IReadOnlyList<OutputSegment> Segments
    {
        get
        {
            CloseSegment();
            return _segments;
        }
    }

    /// <summary>One byte: 1 or 0.</summary>
    public void WriteBoolean(bool value) => WriteByte(value ? (byte)1 : (byte)0);

    /// <summary>One byte, signed.</summary>
    public void WriteInt8(sbyte value) => WriteByte((byte)value);

    /// <summary>Two bytes, big-endian.</summary>
    public void WriteInt16(short value)
    {
        Ensure(sizeof(short));
        BinaryPrimitives.WriteInt16BigEndian(_chunk.AsSpan(_position), value);
        _position += sizeof(short);
    }

    /// <summary>Two bytes, unsigned, big-endian.</summary>
    public void WriteUInt16(ushort value) => WriteInt16((short)value);

    /// <summary>Four bytes, big-endian.</summary>
    public void WriteInt32(int value)
    {
        Ensure(sizeof(int));
        BinaryPrimitives.WriteInt32BigEndian(_chunk.AsSpan(_position), value);
        _position += sizeof(int);
    }

    /// <summary>Four bytes, unsigned, big-endian.</summary>
    public void WriteUInt32(uint value) => WriteInt32((int)value);

    /// <summary>Eight bytes, big-endian.</summary>
    public void WriteInt64(long value)
    {
        Ensure(sizeof(long));
        BinaryPrimitives.WriteInt64BigEndian(_chunk.AsSpan(_position), value);
        _position += sizeof(long);
    }

    /// <summary>Eight bytes, an IEEE 754 double.</summary>
    public void WriteFloat64(double value) => WriteInt64(BitConverter.DoubleToInt64Bits(value));

    /// <summary>16 bytes.</summary>
    public void WriteUuid(Uuid value)
    {
        Ensure(Uuid.SizeInBytes);
        value.Write(_chunk.AsSpan(_position));
        _position += Uuid.SizeInBytes;
    }

    /// <summary>One to five bytes of seven bits each, low bits first.</summary>
    public void WriteUnsignedVarint(uint value)
    {
        Ensure(5);
        while (value >= 0x80)
        {
            _chunk[_position++] = (byte)(value | 0x80);
            value >>= 7;
        }

        _chunk[_position++] = (byte)value;
    }

    /// <summary>A signed number, folded so that small ones of either sign are short.</summary>
    public void WriteVarint(int value) => WriteUnsignedVarint((uint)((value << 1) ^ (value >> 31)));

    /// <summary>Bytes as they are, without a length.</summary>
    public void WriteRaw(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            Ensure(1);
            int step = Math.Min(bytes.Length, _chunk.Length - _position);
            bytes[..step].CopyTo(_chunk.AsSpan(_position));
            _position += step;
            bytes = bytes[step..];
        }
    }

    /// <summary>Leaves room for an int32 that is not known yet, such as the length of a frame.</summary>
    /// <returns>The place, for <see cref="PatchInt32"/>.</returns>
    public Reservation Reserve()
    {
        Ensure(sizeof(int));
        var place = new Reservation(_chunk, _position);
        _position += sizeof(int);
        return place;
    }

    /// <summary>Fills in a reserved int32.</summary>
    public static void PatchInt32(Reservation place, int value) =>
        BinaryPrimitives.WriteInt32BigEndian(place.Chunk.AsSpan(place.Position), value);

    /// <summary>Copies everything into one array, reading files where needed: for small messages and tests.</summary>
    public byte[] ToArray()
    {
        var result = new byte[checked((int)TotalBytes)];
        int position = 0;
        foreach (var segment in Segments)
        {
            var target = result.AsSpan(position, segment.Length);
            if (segment.Region is null) segment.Bytes.Span.CopyTo(target);
            else segment.Region.Read(0, target);
            position += segment.Length;
        }

        return result;
    }

    /// <summary>Forgets what was written, keeps one chunk, and disposes the file regions.</summary>
    public void Reset()
    {
        Release();
        if (_chunk.Length > LargestChunk / 2)
        {
            ArrayPool<byte>.Shared.Return(_chunk);
            _chunk = [];
        }
    }

    /// <summary>Gives everything back. A write after it starts anew.</summary>
    public void Dispose()
    {
        Release();
        if (_chunk.Length > 0) ArrayPool<byte>.Shared.Return(_chunk);
        _chunk = [];
    }

    /// <inheritdoc/>
    public void Advance(int count)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)count, (uint)(_chunk.Length - _position), nameof(count));
        _position += count;
    }

    /// <inheritdoc/>
    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        Ensure(Math.Max(1, sizeHint));
        return _chunk.AsMemory(_position);
    }

    /// <inheritdoc/>
    public Span<byte> GetSpan(int sizeHint = 0)
    {
        Ensure(Math.Max(1, sizeHint));
        return _chunk.AsSpan(_position);
    }

    private void WriteByte(byte value)
    {
        Ensure(1);
        _chunk[_position++] = value;
    }

    private void Ensure(int size)
    {
        if (_chunk.Length - _position < size) NewChunk(size);
    }

    private void NewChunk(int size)
    {
        CloseSegment();
        int wanted = Math.Min(LargestChunk, Math.Max(FirstChunk, _chunk.Length * 2));
        if (_chunk.Length > 0) _chunks.Add(_chunk);
        _chunk = ArrayPool<byte>.Shared.Rent(Math.Max(size, wanted));
        _open = _position = 0;
    }

    private void CloseSegment()
    {
        if (_position == _open) return;
        _segments.Add(new OutputSegment(_chunk.AsMemory(_open, _position - _open)));
        _closed += _position - _open;
        _open = _position;
    }

    private void Add(OutputSegment segment)
    {
        if (segment.Length == 0)
        {
            segment.Region?.Dispose();
            return;
        }

        CloseSegment();
        _segments.Add(segment);
        _closed += segment.Length;
    }

    private void Release()
    {
        foreach (var segment in _segments) segment.Region?.Dispose();
        foreach (byte[] chunk in _chunks) ArrayPool<byte>.Shared.Return(chunk);
        _segments.Clear();
        _chunks.Clear();
        _open = _position = 0;
        _closed = 0;
    }

    /// <summary>Four bytes left free in what was written.</summary>
    public readonly struct Reservation
    {
        internal Reservation(byte[] chunk, int position)
        {
            Chunk = chunk;
            Position = position;
        }

        internal byte[] Chunk { get; }

        internal int Position { get; }
    }

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
