using System.Text;

namespace KBroker.Protocol.Records;

/// <summary>One header of a record.</summary>
public readonly struct RecordHeader
{
    /// <summary>A header with a text key.</summary>
    /// <param name="key">Not null; may be empty; keys may repeat.</param>
    /// <param name="value">Null is not the same as empty. Beware: a null <c>byte[]</c> converts to empty.</param>
    public RecordHeader(string key, ReadOnlyMemory<byte>? value)
        : this(Encoding.UTF8.GetBytes(key), value)
    {
    }

    /// <summary>A header whose key is encoded already.</summary>
    /// <param name="keyUtf8">Not copied.</param>
    /// <param name="value">Null is not the same as empty; not copied.</param>
    public RecordHeader(ReadOnlyMemory<byte> keyUtf8, ReadOnlyMemory<byte>? value)
    {
        KeyUtf8 = keyUtf8;
        Value = value;
    }

    /// <summary>The key as it lies in the record, for comparison without decoding.</summary>
    public ReadOnlyMemory<byte> KeyUtf8 { get; }

    /// <summary>The key, decoded at each call.</summary>
    public string Key => Encoding.UTF8.GetString(KeyUtf8.Span);

    /// <summary>The value, or null.</summary>
    public ReadOnlyMemory<byte>? Value { get; }
}

/// <summary>The headers of a record, kept in their encoded form and decoded while being enumerated.</summary>
/// <remarks>Encoded: a header is varint key length, key, varint value length (-1 for null), value.</remarks>
public readonly struct RecordHeaders
{
    internal RecordHeaders(ReadOnlyMemory<byte> encoded, int count)
    {
        Encoded = encoded;
        Count = count;
    }

    /// <summary>No headers.</summary>
    public static RecordHeaders Empty => default;

    /// <summary>Number of headers.</summary>
    public int Count { get; }

    /// <summary>The encoded headers, without the count in front.</summary>
    public ReadOnlyMemory<byte> Encoded { get; }

    /// <summary>Encodes headers, in order.</summary>
    /// <param name="headers">Copied.</param>
    /// <returns>The headers, which own one fresh array.</returns>
    public static RecordHeaders Create(params ReadOnlySpan<RecordHeader> headers)
    {
        var size = 0;
        foreach (var header in headers)
        {
            size += VarInt.SizeOf(header.KeyUtf8.Length) + header.KeyUtf8.Length;
            size += header.Value is { } value ? VarInt.SizeOf(value.Length) + value.Length : 1;
        }

        var encoded = new byte[size];
        var rest = encoded.AsSpan();
        foreach (var header in headers)
        {
            rest = rest[RecordFields.WriteBytes(rest, header.KeyUtf8)..];
            rest = rest[RecordFields.WriteBytes(rest, header.Value)..];
        }

        return new RecordHeaders(encoded, headers.Length);
    }

    /// <summary>Finds the last header with a key, the one that counts where keys repeat.</summary>
    /// <param name="keyUtf8">The key.</param>
    /// <param name="value">The value, which may be null.</param>
    /// <returns>Whether there is one.</returns>
    public bool TryGetLast(ReadOnlySpan<byte> keyUtf8, out ReadOnlyMemory<byte>? value)
    {
        var found = false;
        value = null;
        foreach (var header in this)
        {
            if (!header.KeyUtf8.Span.SequenceEqual(keyUtf8))
                continue;
            found = true;
            value = header.Value;
        }

        return found;
    }

    /// <summary>Decodes the headers one by one, without allocating.</summary>
    /// <returns>The enumerator.</returns>
    public Enumerator GetEnumerator() => new(this);

    /// <summary>Walks over the headers of one record.</summary>
    public struct Enumerator
    {
        private readonly ReadOnlyMemory<byte> _encoded;
        private int _position;
        private int _left;

        internal Enumerator(RecordHeaders headers)
        {
            _encoded = headers.Encoded;
            _left = headers.Count;
        }

        /// <summary>The header last moved to.</summary>
        public RecordHeader Current { get; private set; }

        /// <summary>Moves to the next header.</summary>
        /// <returns>False behind the last one.</returns>
        public bool MoveNext()
        {
            if (_left == 0)
                return false;
            _left--;
            var key = RecordFields.ReadBytes(_encoded, ref _position);
            Current = new RecordHeader(key.GetValueOrDefault(), RecordFields.ReadBytes(_encoded, ref _position));
            return true;
        }
    }
}
