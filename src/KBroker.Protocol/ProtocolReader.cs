using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.CompilerServices;

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
public ref partial struct ProtocolReader
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
}
