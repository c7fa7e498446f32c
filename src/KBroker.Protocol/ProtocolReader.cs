using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Unicode;
using KBroker.Protocol.Messages;

namespace KBroker.Protocol;

/// <summary>
/// Reads the protocol's wire forms from a sequence of memory. Integers are big-endian, except variable-length ones
/// (seven bits a byte, low bits first). In flexible versions a length is an unsigned varint, one more than the length,
/// 0 for null; before, it is an int16 (strings) or int32 (bytes, arrays), -1 for null.
/// </summary>
/// <remarks>
/// Nothing is allocated for a length before it was compared with what is left of the input. Any violation is a
/// <see cref="ProtocolException"/>, after which the reader is of no more use. Nesting needs no bound here: the message
/// classes contain no recursion, the generator refuses it.
/// </remarks>
public ref struct ProtocolReader
{
    /// <summary>The longest string the protocol allows, in bytes of UTF-8.</summary>
    public const int MaxStringBytes = short.MaxValue;

    /// <summary>
    /// How many structs in arrays one reader creates at most. An element of a few bytes becomes an object of up to a
    /// hundred, so that a frame full of such elements would take many times its own size.
    /// </summary>
    public const int MaxElements = 1 << 20;

    private readonly ReadOnlySequence<byte> _input;
    private readonly long _length;
    private ReadOnlySpan<byte> _span;
    private SequencePosition _spanStart;
    private SequencePosition _next;
    private long _before;
    private int _position;
    private int _elementsLeft;

    /// <summary>Starts at the first byte of a sequence.</summary>
    /// <param name="input">Not copied; slices of it are handed out for records and zero-copy bytes.</param>
    public ProtocolReader(ReadOnlySequence<byte> input)
    {
        _input = input;
        _length = input.Length;
        _elementsLeft = MaxElements;
        _spanStart = input.Start;
        _span = input.FirstSpan;
        _next = input.IsSingleSegment ? default : input.GetPosition(_span.Length);
    }

    /// <summary>Starts at the first byte of a block of memory.</summary>
    /// <param name="input">Not copied; slices of it are handed out for records and zero-copy bytes.</param>
    public ProtocolReader(ReadOnlyMemory<byte> input)
        : this(new ReadOnlySequence<byte>(input))
    {
    }

    /// <summary>Bytes read so far.</summary>
    public readonly long Consumed => _before + _position;

    /// <summary>Bytes not read yet.</summary>
    public readonly long Remaining => _length - _before - _position;

    /// <summary>One byte: 0 is false, anything else true.</summary>
    public bool ReadBoolean() => ReadByte() != 0;

    /// <summary>One byte, signed.</summary>
    public sbyte ReadInt8() => (sbyte)ReadByte();

    /// <summary>Two bytes, signed.</summary>
    public short ReadInt16()
    {
        if (_span.Length - _position < sizeof(short)) return (short)ReadSlow(sizeof(short));
        short value = BinaryPrimitives.ReadInt16BigEndian(_span[_position..]);
        _position += sizeof(short);
        return value;
    }

    /// <summary>Two bytes, unsigned.</summary>
    public ushort ReadUInt16() => (ushort)ReadInt16();

    /// <summary>Four bytes, signed.</summary>
    public int ReadInt32()
    {
        if (_span.Length - _position < sizeof(int)) return (int)ReadSlow(sizeof(int));
        int value = BinaryPrimitives.ReadInt32BigEndian(_span[_position..]);
        _position += sizeof(int);
        return value;
    }

    /// <summary>Four bytes, unsigned.</summary>
    public uint ReadUInt32() => (uint)ReadInt32();

    /// <summary>Eight bytes, signed.</summary>
    public long ReadInt64()
    {
        if (_span.Length - _position < sizeof(long)) return (long)ReadSlow(sizeof(long));
        long value = BinaryPrimitives.ReadInt64BigEndian(_span[_position..]);
        _position += sizeof(long);
        return value;
    }

    /// <summary>Eight bytes, an IEEE 754 double.</summary>
    public double ReadFloat64() => BitConverter.Int64BitsToDouble(ReadInt64());

    /// <summary>16 bytes.</summary>
    public Uuid ReadUuid()
    {
        long high = ReadInt64();
        return new Uuid(high, ReadInt64());
    }

    /// <summary>One to five bytes of seven bits each, low bits first; the top bit says that another follows.</summary>
    public uint ReadUnsignedVarint()
    {
        uint value = ReadByte();
        if (value < 0x80) return value;
        value &= 0x7f;
        for (int shift = 7; shift <= 28; shift += 7)
        {
            uint next = ReadByte();
            if (shift == 28 && next > 0x0f) break;
            value |= (next & 0x7f) << shift;
            if (next < 0x80) return value;
        }

        throw new ProtocolException("A variable-length integer does not end within 32 bits.");
    }

    /// <summary>As <see cref="ReadUnsignedVarint"/>, then unfolded: even for 0, 1, ..., odd for -1, -2, ...</summary>
    public int ReadVarint()
    {
        uint value = ReadUnsignedVarint();
        return (int)(value >> 1) ^ -(int)(value & 1);
    }

    /// <summary>Skips bytes.</summary>
    /// <exception cref="ProtocolException">Fewer bytes are left.</exception>
    public void Skip(long count)
    {
        CheckRemaining(count);
        while (count > 0)
        {
            int step = (int)Math.Min(count, _span.Length - _position);
            _position += step;
            count -= step;
            if (count > 0) NextSpan();
        }
    }

    /// <summary>Throws when there are bytes behind what was read.</summary>
    public readonly void EnsureEnd()
    {
        if (Remaining != 0) throw new ProtocolException($"{Remaining} bytes follow the end of the message.");
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private byte ReadByte() => _position < _span.Length ? _span[_position++] : (byte)ReadSlow(1);

    [MethodImpl(MethodImplOptions.NoInlining)]
    private ulong ReadSlow(int size)
    {
        CheckRemaining(size);
        ulong value = 0;
        for (int i = 0; i < size; i++)
        {
            if (_position >= _span.Length) NextSpan();
            value = (value << 8) | _span[_position++];
        }

        return value;
    }

    private readonly void CheckRemaining(long size)
    {
        if (size > Remaining) throw ProtocolException.EndOfInput(size, Remaining);
    }

    private void NextSpan()
    {
        while (true)
        {
            _before += _span.Length;
            _position = 0;
            _spanStart = _next;
            if (!_input.TryGet(ref _next, out var memory)) throw ProtocolException.EndOfInput(1, 0);
            _span = memory.Span;
            if (_span.Length > 0) return;
        }
    }

    private void CopyTo(Span<byte> destination)
    {
        while (true)
        {
            int step = Math.Min(destination.Length, _span.Length - _position);
            _span.Slice(_position, step).CopyTo(destination);
            _position += step;
            destination = destination[step..];
            if (destination.IsEmpty) return;
            NextSpan();
        }
    }

    private ReadOnlySequence<byte> Slice(int size)
    {
        if (size == 0) return ReadOnlySequence<byte>.Empty;
        var slice = _input.Slice(_input.GetPosition(_position, _spanStart), size);
        Skip(size);
        return slice;
    }

    /// <summary>A string that must not be null: length, then UTF-8.</summary>
    public string ReadString(bool flexible)
    {
        int length = ReadStringLength(flexible);
        return length >= 0 ? ReadUtf8(length) : throw new ProtocolException("A string is null that must not be.");
    }

    /// <summary>A string, or null.</summary>
    public string? ReadNullableString(bool flexible)
    {
        int length = ReadStringLength(flexible);
        return length >= 0 ? ReadUtf8(length) : null;
    }

    /// <summary>Bytes that must not be null, as a copy.</summary>
    public ReadOnlyMemory<byte> ReadBytes(bool flexible) =>
        ReadNullableBytes(flexible) ?? throw new ProtocolException("A byte field is null that must not be.");

    /// <summary>Bytes, as a copy, or null.</summary>
    public ReadOnlyMemory<byte>? ReadNullableBytes(bool flexible)
    {
        int length = ReadLength(flexible);
        if (length < 0) return null;
        return CopyBytes(length);
    }

    /// <summary>Bytes that must not be null: a slice of the input where it lies in one piece, else a copy.</summary>
    public ReadOnlyMemory<byte> ReadBytesSlice(bool flexible) =>
        ReadNullableBytesSlice(flexible) ?? throw new ProtocolException("A byte field is null that must not be.");

    /// <summary>Bytes, or null: a slice of the input where it lies in one piece, else a copy.</summary>
    public ReadOnlyMemory<byte>? ReadNullableBytesSlice(bool flexible)
    {
        int length = ReadLength(flexible);
        if (length < 0) return null;
        var slice = Slice(length);
        return slice.IsSingleSegment ? slice.First : slice.ToArray();
    }

    /// <summary>Records that must not be null: a slice of the input.</summary>
    public Records.Records? ReadRecords(bool flexible) =>
        ReadNullableRecords(flexible) ?? throw new ProtocolException("A records field is null that must not be.");

    /// <summary>Records, or null: a slice of the input.</summary>
    public Records.Records? ReadNullableRecords(bool flexible)
    {
        int length = ReadLength(flexible);
        if (length < 0) return null;
        return new Records.Records(Slice(length));
    }

    /// <summary>The number of elements of an array that must not be null.</summary>
    /// <param name="flexible">Whether the version has compact lengths.</param>
    /// <param name="minimumElementBytes">The fewest bytes an element takes; bounds the number.</param>
    public int ReadArrayCount(bool flexible, int minimumElementBytes)
    {
        int count = ReadNullableArrayCount(flexible, minimumElementBytes);
        return count >= 0 ? count : throw new ProtocolException("An array is null that must not be.");
    }

    /// <summary>The number of elements of an array, or -1 for null.</summary>
    /// <param name="flexible">Whether the version has compact lengths.</param>
    /// <param name="minimumElementBytes">The fewest bytes an element takes; bounds the number.</param>
    public int ReadNullableArrayCount(bool flexible, int minimumElementBytes)
    {
        int count = ReadPrimitiveCount(flexible, minimumElementBytes);
        _elementsLeft -= Math.Max(count, 0);
        return _elementsLeft >= 0 ? count : throw new ProtocolException($"More than {MaxElements} array elements.");
    }

    /// <summary>An array of int8 that must not be null; null stands for an empty one.</summary>
    public List<sbyte>? ReadInt8List(bool flexible) => NotNull(ReadNullableInt8List(flexible));

    /// <summary>An array of int8, or null.</summary>
    public List<sbyte>? ReadNullableInt8List(bool flexible)
    {
        if (!TryNewList(flexible, sizeof(sbyte), out List<sbyte>? list)) return list;
        CopyTo(MemoryMarshal.AsBytes(CollectionsMarshal.AsSpan(list)));
        return list;
    }

    /// <summary>An array of int16 that must not be null; null stands for an empty one.</summary>
    public List<short>? ReadInt16List(bool flexible) => NotNull(ReadNullableInt16List(flexible));

    /// <summary>An array of int16, or null.</summary>
    public List<short>? ReadNullableInt16List(bool flexible)
    {
        if (!TryNewList(flexible, sizeof(short), out List<short>? list)) return list;
        var items = CollectionsMarshal.AsSpan(list);
        CopyTo(MemoryMarshal.AsBytes(items));
        if (BitConverter.IsLittleEndian) BinaryPrimitives.ReverseEndianness(items, items);
        return list;
    }

    /// <summary>An array of int32 that must not be null; null stands for an empty one.</summary>
    public List<int>? ReadInt32List(bool flexible) => NotNull(ReadNullableInt32List(flexible));

    /// <summary>An array of int32, or null.</summary>
    public List<int>? ReadNullableInt32List(bool flexible)
    {
        if (!TryNewList(flexible, sizeof(int), out List<int>? list)) return list;
        var items = CollectionsMarshal.AsSpan(list);
        CopyTo(MemoryMarshal.AsBytes(items));
        if (BitConverter.IsLittleEndian) BinaryPrimitives.ReverseEndianness(items, items);
        return list;
    }

    /// <summary>An array of int64 that must not be null; null stands for an empty one.</summary>
    public List<long>? ReadInt64List(bool flexible) => NotNull(ReadNullableInt64List(flexible));

    /// <summary>An array of int64, or null.</summary>
    public List<long>? ReadNullableInt64List(bool flexible)
    {
        if (!TryNewList(flexible, sizeof(long), out List<long>? list)) return list;
        var items = CollectionsMarshal.AsSpan(list);
        CopyTo(MemoryMarshal.AsBytes(items));
        if (BitConverter.IsLittleEndian) BinaryPrimitives.ReverseEndianness(items, items);
        return list;
    }

    /// <summary>An array of UUIDs that must not be null; null stands for an empty one.</summary>
    public List<Uuid>? ReadUuidList(bool flexible) => NotNull(ReadNullableUuidList(flexible));

    /// <summary>An array of UUIDs, or null.</summary>
    public List<Uuid>? ReadNullableUuidList(bool flexible)
    {
        if (!TryNewList(flexible, Uuid.SizeInBytes, out List<Uuid>? list)) return list;
        foreach (ref var item in CollectionsMarshal.AsSpan(list)) item = ReadUuid();
        return list;
    }

    /// <summary>An array of strings that must not be null; null stands for an empty one.</summary>
    public List<string>? ReadStringList(bool flexible) => NotNull(ReadNullableStringList(flexible));

    /// <summary>An array of strings, or null.</summary>
    public List<string>? ReadNullableStringList(bool flexible)
    {
        int count = ReadNullableArrayCount(flexible, flexible ? 1 : 2);
        if (count < 0) return null;
        var list = new List<string>(count);
        for (int i = 0; i < count; i++) list.Add(ReadString(flexible));
        return list;
    }

    /// <summary>The number of tagged fields that follow.</summary>
    public int ReadTagCount()
    {
        uint count = ReadUnsignedVarint();

        // A tagged field takes a byte for its tag and one for its size.
        return count <= Remaining / 2 ? (int)count : throw ProtocolException.EndOfInput((long)count * 2, Remaining);
    }

    /// <summary>A tag and the number of bytes of its field.</summary>
    public int ReadTag(out int size)
    {
        uint tag = ReadUnsignedVarint();
        if (tag > int.MaxValue) throw new ProtocolException("A tag does not fit 31 bits.");
        uint bytes = ReadUnsignedVarint();
        CheckRemaining(bytes);
        size = (int)bytes;
        return (int)tag;
    }

    /// <summary>Throws unless a tagged field took the bytes that it announced.</summary>
    /// <param name="end">What <see cref="Consumed"/> has to be now.</param>
    public readonly void EndTag(long end)
    {
        if (Consumed != end) throw new ProtocolException("A tagged field does not have the size it announces.");
    }

    /// <summary>The bytes of a tagged field that the reader does not know, as a copy.</summary>
    public UnknownTaggedField ReadUnknownTaggedField(int tag, int size) => new(tag, CopyBytes(size));

    /// <summary>The tagged fields of a struct that defines none; null when there are none.</summary>
    public List<UnknownTaggedField>? ReadUnknownTaggedFields()
    {
        int count = ReadTagCount();
        if (count == 0) return null;
        var fields = new List<UnknownTaggedField>(Math.Min(count, 16));
        for (; count > 0; count--)
        {
            int tag = ReadTag(out int size);
            fields.Add(ReadUnknownTaggedField(tag, size));
        }

        return fields;
    }

    private static List<T>? NotNull<T>(List<T>? list)
    {
        if (list is null) throw new ProtocolException("An array is null that must not be.");
        return list.Count > 0 ? list : null;
    }

    private bool TryNewList<T>(bool flexible, int elementBytes, out List<T>? list)
    {
        int count = ReadPrimitiveCount(flexible, elementBytes);
        list = count < 0 ? null : new List<T>(count);
        if (count <= 0) return false;
        CollectionsMarshal.SetCount(list!, count);
        return true;
    }

    private int ReadPrimitiveCount(bool flexible, int elementBytes)
    {
        long count = flexible ? (long)ReadUnsignedVarint() - 1 : ReadInt32();
        if (count < -1) throw new ProtocolException($"An array has {count} elements.");
        if (count > 0 && count > Remaining / elementBytes)
            throw ProtocolException.EndOfInput(count * elementBytes, Remaining);
        return (int)count;
    }

    private int ReadStringLength(bool flexible)
    {
        long length = flexible ? (long)ReadUnsignedVarint() - 1 : ReadInt16();
        if (length is < -1 or > MaxStringBytes) throw new ProtocolException($"A string has {length} bytes.");
        CheckRemaining(length);
        return (int)length;
    }

    private int ReadLength(bool flexible)
    {
        long length = flexible ? (long)ReadUnsignedVarint() - 1 : ReadInt32();
        if (length < -1) throw new ProtocolException($"A byte field has {length} bytes.");
        CheckRemaining(length);
        return (int)length;
    }

    private ReadOnlyMemory<byte> CopyBytes(int length)
    {
        if (length == 0) return ReadOnlyMemory<byte>.Empty;
        var copy = GC.AllocateUninitializedArray<byte>(length);
        CopyTo(copy);
        return copy;
    }

    private string ReadUtf8(int length)
    {
        if (length == 0) return "";
        if (_span.Length - _position >= length)
        {
            string text = Decode(_span.Slice(_position, length));
            _position += length;
            return text;
        }

        byte[] rented = ArrayPool<byte>.Shared.Rent(length);
        try
        {
            CopyTo(rented.AsSpan(0, length));
            return Decode(rented.AsSpan(0, length));
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(rented);
        }
    }

    private static string Decode(ReadOnlySpan<byte> bytes) =>
        Utf8.IsValid(bytes) ? Encoding.UTF8.GetString(bytes) : throw new ProtocolException("A string is not UTF-8.");
}
