using System.Buffers;
using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;

namespace KBroker.Protocol.Records;

/// <summary>Where the fields of one record lie in its bytes.</summary>
/// <remarks>
/// A record is varint length (of what follows), int8 attributes (unused), varlong timestamp delta, varint offset delta,
/// varint key length (-1 for null), key, varint value length (-1 for null), value, varint headers count, headers.
/// </remarks>
internal struct RecordFields
{
    /// <summary>Bytes of the shortest record, its length included.</summary>
    public const int MinRecordBytes = 7;

    /// <summary>"kbroker-" as it is read from memory.</summary>
    private const ulong RequestPrefix = 0x2d72656b6f72626b;

    public long TimestampDelta;
    public int OffsetDelta;
    public int KeyStart;
    public int KeyLength;
    public int ValueStart;
    public int ValueLength;
    public int HeadersStart;
    public int HeadersCount;

    /// <summary>Headers whose key begins like those that ask the broker for something.</summary>
    public int RequestHeadersCount;

    /// <summary>Decodes and checks one record.</summary>
    /// <param name="body">Exactly the record, without its length.</param>
    /// <param name="fields">Positions counted from the start of the body.</param>
    public static void Parse(ReadOnlySpan<byte> body, out RecordFields fields)
    {
        fields = default;
        var position = 1;
        if (!VarInt.TryRead(body, ref position, out fields.TimestampDelta)
            || !VarInt.TryRead(body, ref position, out fields.OffsetDelta)
            || !VarInt.TryRead(body, ref position, out fields.KeyLength))
            ThrowTruncated(body.Length);
        fields.KeyStart = position;
        Skip(body.Length, ref position, fields.KeyLength, "key");
        if (!VarInt.TryRead(body, ref position, out fields.ValueLength))
            ThrowTruncated(body.Length);
        fields.ValueStart = position;
        Skip(body.Length, ref position, fields.ValueLength, "value");
        if (!VarInt.TryRead(body, ref position, out fields.HeadersCount))
            ThrowTruncated(body.Length);
        fields.HeadersStart = position;
        if (fields.HeadersCount != 0)
            fields.RequestHeadersCount = SkipHeaders(body, ref position, fields.HeadersCount);
        if (position != body.Length)
            ThrowTrailing(body.Length, position);
    }

    /// <summary>
    /// As <see cref="Parse"/>, for a record that spans segments. Only deltas, key length and headers count are set.
    /// </summary>
    /// <param name="reader">Behind the record's length; left behind the record.</param>
    /// <param name="length">The record's length, not more than what is left.</param>
    /// <param name="fields">The fields.</param>
    public static void ParseFragmented(ref SequenceReader<byte> reader, int length, out RecordFields fields)
    {
        fields = default;
        var rest = reader.UnreadSequence;
        var body = new SequenceReader<byte>(rest.Slice(0, length));
        if (!body.TryRead(out _)
            || !VarInt.TryRead(ref body, out fields.TimestampDelta)
            || !VarInt.TryRead(ref body, out fields.OffsetDelta)
            || !VarInt.TryRead(ref body, out fields.KeyLength))
            ThrowTruncated(length);
        Skip(ref body, fields.KeyLength, "key");
        if (!VarInt.TryRead(ref body, out fields.ValueLength))
            ThrowTruncated(length);
        Skip(ref body, fields.ValueLength, "value");
        if (!VarInt.TryRead(ref body, out fields.HeadersCount))
            ThrowTruncated(length);
        CheckHeadersCount(fields.HeadersCount, body.Remaining);
        Span<byte> prefix = stackalloc byte[sizeof(ulong)];
        for (var i = 0; i < fields.HeadersCount; i++)
        {
            if (!VarInt.TryRead(ref body, out int keyLength))
                ThrowTruncated(length);
            if (keyLength < 0)
                ThrowHeaderKey(keyLength);
            if (keyLength > sizeof(ulong) && body.TryCopyTo(prefix)
                && BinaryPrimitives.ReadUInt64LittleEndian(prefix) == RequestPrefix)
                fields.RequestHeadersCount++;
            Skip(ref body, keyLength, "header key");
            if (!VarInt.TryRead(ref body, out int valueLength))
                ThrowTruncated(length);
            Skip(ref body, valueLength, "header value");
        }

        if (!body.End)
            ThrowTrailing(length, (int)body.Consumed);
        reader.Advance(length);
    }

    /// <summary>Reads varint length and bytes that were checked before.</summary>
    public static ReadOnlyMemory<byte>? ReadBytes(ReadOnlyMemory<byte> source, ref int position)
    {
        if (!VarInt.TryRead(source.Span, ref position, out int length))
            ThrowTruncated(source.Length);
        var start = position;
        Skip(source.Length, ref position, length, "header");
        return length < 0 ? default(ReadOnlyMemory<byte>?) : source.Slice(start, length);
    }

    /// <summary>Writes varint length and bytes.</summary>
    /// <returns>The bytes written.</returns>
    public static int WriteBytes(Span<byte> destination, ReadOnlyMemory<byte>? value)
    {
        if (value is not { } bytes)
            return VarInt.Write(destination, -1);
        var size = VarInt.Write(destination, bytes.Length);
        bytes.Span.CopyTo(destination[size..]);
        return size + bytes.Length;
    }

    [DoesNotReturn]
    public static void ThrowLength(int length, long left) => throw new InvalidRecordException(
        $"Invalid record length {length}: {left} bytes are left in the batch.");

    private static int SkipHeaders(ReadOnlySpan<byte> body, ref int position, int count)
    {
        var requests = 0;
        CheckHeadersCount(count, body.Length - position);
        for (var i = 0; i < count; i++)
        {
            if (!VarInt.TryRead(body, ref position, out int keyLength))
                ThrowTruncated(body.Length);
            if (keyLength < 0)
                ThrowHeaderKey(keyLength);
            if (keyLength > sizeof(ulong) && keyLength <= body.Length - position
                && BinaryPrimitives.ReadUInt64LittleEndian(body[position..]) == RequestPrefix)
                requests++;
            Skip(body.Length, ref position, keyLength, "header key");
            if (!VarInt.TryRead(body, ref position, out int valueLength))
                ThrowTruncated(body.Length);
            Skip(body.Length, ref position, valueLength, "header value");
        }

        return requests;
    }

    private static void Skip(int bodyLength, ref int position, int length, string field)
    {
        if (length < -1 || length > bodyLength - position)
            ThrowFieldLength(field, length, bodyLength - position);
        if (length > 0)
            position += length;
    }

    private static void Skip(ref SequenceReader<byte> body, int length, string field)
    {
        if (length < -1 || length > body.Remaining)
            ThrowFieldLength(field, length, body.Remaining);
        if (length > 0)
            body.Advance(length);
    }

    private static void CheckHeadersCount(int count, long left)
    {
        // A header takes two bytes at least.
        if (count < 0 || count > left / 2)
            throw new InvalidRecordException(
                $"Invalid number of record headers {count}: {left} bytes are left in the record.");
    }

    [DoesNotReturn]
    private static void ThrowTruncated(int length) => throw new InvalidRecordException(
        $"A record of {length} bytes ends inside a field, or holds a variable-length number that is too long.");

    [DoesNotReturn]
    private static void ThrowTrailing(int length, int used) => throw new InvalidRecordException(
        $"Invalid record length {length}: its fields end after {used} bytes.");

    [DoesNotReturn]
    private static void ThrowFieldLength(string field, int length, long left) => throw new InvalidRecordException(
        $"Invalid {field} length {length}: {left} bytes are left in the record.");

    [DoesNotReturn]
    private static void ThrowHeaderKey(int length) => throw new InvalidRecordException(
        $"Invalid header key length {length}: a header key cannot be null.");
}
