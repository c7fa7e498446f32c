using System.Buffers;
using System.Diagnostics.CodeAnalysis;

namespace KBroker.Protocol.Records;

/// <summary>One way to compress the records of a batch. Thread-safe.</summary>
public abstract class CompressionCodec
{
    private protected CompressionCodec(CompressionType type) => Type = type;

    /// <summary>Which codec it is.</summary>
    public CompressionType Type { get; }

    /// <summary>The lowest level, as the topic config <c>compression.*.level</c> allows it; 0 without levels.</summary>
    public virtual int MinLevel => 0;

    /// <summary>The highest level; 0 without levels.</summary>
    public virtual int MaxLevel => 0;

    /// <summary>The level that is used unless told; Kafka's default.</summary>
    public virtual int DefaultLevel => 0;

    /// <summary>Whether this machine has what the codec needs.</summary>
    /// <param name="reason">Names the missing library and its Debian package.</param>
    /// <returns>False when compressing and decompressing would throw
    /// <see cref="CompressionCodecUnavailableException"/>.</returns>
    public virtual bool IsAvailable([NotNullWhen(false)] out string? reason)
    {
        reason = null;
        return true;
    }

    /// <summary>Compresses bytes as Kafka clients expect them.</summary>
    /// <param name="source">The records.</param>
    /// <param name="destination">Receives the compressed form.</param>
    /// <param name="level">Null for <see cref="DefaultLevel"/>.</param>
    /// <exception cref="CompressionCodecUnavailableException">The library is missing.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The codec has no such level.</exception>
    public void Compress(ReadOnlySpan<byte> source, IBufferWriter<byte> destination, int? level = null)
    {
        ArgumentNullException.ThrowIfNull(destination);
        EnsureAvailable();
        CompressCore(source, destination, CheckLevel(level));
    }

    /// <summary>Compresses fragmented bytes; they are joined in a pooled buffer first.</summary>
    /// <param name="source">The records.</param>
    /// <param name="destination">Receives the compressed form.</param>
    /// <param name="level">Null for <see cref="DefaultLevel"/>.</param>
    public void Compress(in ReadOnlySequence<byte> source, IBufferWriter<byte> destination, int? level = null)
    {
        if (source.IsSingleSegment)
        {
            Compress(source.FirstSpan, destination, level);
            return;
        }

        using var joined = Join(source);
        Compress(joined.Span, destination, level);
    }

    /// <summary>Decompresses bytes, of which the sender is not trusted.</summary>
    /// <param name="source">The compressed form, whole.</param>
    /// <param name="destination">Receives at most <paramref name="maxBytes"/>.</param>
    /// <param name="maxBytes">The bound on the output; also what is held in memory for it.</param>
    /// <exception cref="InvalidRecordException">The bytes are no such form, end early, or hold more than the bound.
    /// </exception>
    /// <exception cref="CompressionCodecUnavailableException">The library is missing.</exception>
    public void Decompress(ReadOnlySpan<byte> source, IBufferWriter<byte> destination, int maxBytes)
    {
        ArgumentNullException.ThrowIfNull(destination);
        ArgumentOutOfRangeException.ThrowIfNegative(maxBytes);
        EnsureAvailable();
        DecompressCore(source, destination, maxBytes);
    }

    /// <summary>Decompresses fragmented bytes; the compressed form is joined in a pooled buffer first.</summary>
    /// <param name="source">The compressed form, whole.</param>
    /// <param name="destination">Receives at most <paramref name="maxBytes"/>.</param>
    /// <param name="maxBytes">The bound on the output.</param>
    public void Decompress(in ReadOnlySequence<byte> source, IBufferWriter<byte> destination, int maxBytes)
    {
        if (source.IsSingleSegment)
        {
            Decompress(source.FirstSpan, destination, maxBytes);
            return;
        }

        using var joined = Join(source);
        Decompress(joined.Span, destination, maxBytes);
    }

    private protected abstract void CompressCore(ReadOnlySpan<byte> source, IBufferWriter<byte> destination, int level);

    private protected abstract void DecompressCore(
        ReadOnlySpan<byte> source, IBufferWriter<byte> destination, int maxBytes);

    private protected virtual bool IsValidLevel(int level) => level >= MinLevel && level <= MaxLevel;

    private protected Exception TooLarge(int maxBytes) => new InvalidRecordException(
        $"{Type} compressed records take more than {maxBytes} bytes when decompressed.");

    private protected Exception Malformed(string detail, Exception? cause = null) => new InvalidRecordException(
        $"Malformed {Type} compressed records: {detail}.", innerException: cause);

    private static PooledBuffer Join(in ReadOnlySequence<byte> source)
    {
        var joined = new PooledBuffer();
        var length = checked((int)source.Length);
        source.CopyTo(joined.GetSpan(length));
        joined.Advance(length);
        return joined;
    }

    private void EnsureAvailable()
    {
        if (!IsAvailable(out var reason))
            throw new CompressionCodecUnavailableException(Type, reason);
    }

    private int CheckLevel(int? level)
    {
        if (level is not { } value)
            return DefaultLevel;
        if (!IsValidLevel(value))
            throw new ArgumentOutOfRangeException(
                nameof(level), value, $"{Type} has the levels {MinLevel} to {MaxLevel}.");
        return value;
    }
}
