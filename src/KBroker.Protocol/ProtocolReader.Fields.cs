using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Unicode;
using KBroker.Protocol.Messages;

namespace KBroker.Protocol;

/// <content>Fields with a length before them: strings, bytes, records, arrays, tagged fields.</content>
public ref partial struct ProtocolReader
{
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
