using System.Buffers;
using System.Buffers.Binary;

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
public sealed partial class ProtocolWriter : IBufferWriter<byte>, IDisposable
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
}
