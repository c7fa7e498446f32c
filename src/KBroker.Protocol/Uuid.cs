using System.Buffers.Binary;
using System.Buffers.Text;
using System.Diagnostics.CodeAnalysis;

namespace KBroker.Protocol;

/// <summary>
/// The protocol's UUID: 16 bytes on the wire, most significant first; as text, 22 characters of base64url without
/// padding. Topic ids, directory ids, cluster ids and member ids of the new group protocols are such.
/// </summary>
public readonly struct Uuid : IEquatable<Uuid>, IComparable<Uuid>
{
    /// <summary>Bytes on the wire.</summary>
    public const int SizeInBytes = 16;

    private const int TextLength = 22;

    /// <summary>Creates one from its two halves.</summary>
    /// <param name="mostSignificant">The first eight bytes on the wire.</param>
    /// <param name="leastSignificant">The last eight bytes on the wire.</param>
    public Uuid(long mostSignificant, long leastSignificant)
    {
        MostSignificant = mostSignificant;
        LeastSignificant = leastSignificant;
    }

    /// <summary>All bits zero: no id.</summary>
    public static Uuid Zero => default;

    /// <summary>The first eight bytes on the wire.</summary>
    public long MostSignificant { get; }

    /// <summary>The last eight bytes on the wire.</summary>
    public long LeastSignificant { get; }

    /// <summary>Whether this is <see cref="Zero"/>.</summary>
    public bool IsZero => (MostSignificant | LeastSignificant) == 0;

    /// <summary>
    /// A version 4 UUID from the system's source of randomness. As Kafka's, it is never one of the reserved values (the
    /// high half zero and the low half 0 to 99), and its text never starts with a minus, so that it can stand on a
    /// command line.
    /// </summary>
    // A Guid's random bits come from the kernel; RandomNumberGenerator would load OpenSSL: 5 MB, and time at start.
    public static Uuid Random() => Random(static bytes => Guid.NewGuid().TryWriteBytes(bytes, bigEndian: true, out _));

    /// <summary>As <see cref="Random()"/>, from a given source, so that a test can repeat it.</summary>
    /// <param name="fill">Fills a span with random bytes.</param>
    public static Uuid Random(Action<Span<byte>> fill)
    {
        ArgumentNullException.ThrowIfNull(fill);
        Span<byte> bytes = stackalloc byte[SizeInBytes];
        while (true)
        {
            fill(bytes);
            bytes[6] = (byte)((bytes[6] & 0x0f) | 0x40);
            bytes[8] = (byte)((bytes[8] & 0x3f) | 0x80);

            // The first base64url character is the top six bits; 62 is '-'.
            if (bytes[0] >> 2 != 62) return Read(bytes);
        }
    }

    /// <summary>Reads 16 bytes.</summary>
    /// <param name="source">At least 16 bytes.</param>
    public static Uuid Read(ReadOnlySpan<byte> source) => new(
        BinaryPrimitives.ReadInt64BigEndian(source),
        BinaryPrimitives.ReadInt64BigEndian(source[8..]));

    /// <summary>Reads the text form.</summary>
    /// <exception cref="FormatException">The text is not 22 characters of base64url.</exception>
    public static Uuid Parse(string text) =>
        TryParse(text, out var value) ? value : throw new FormatException($"'{text}' is not a UUID of 22 characters.");

    /// <summary>Reads the text form; false when the text is not one.</summary>
    public static bool TryParse([NotNullWhen(true)] string? text, out Uuid value)
    {
        value = default;
        if (text is null || text.Length != TextLength) return false;
        Span<byte> bytes = stackalloc byte[SizeInBytes];
        try
        {
            if (!Base64Url.TryDecodeFromChars(text, bytes, out int written) || written != SizeInBytes) return false;
        }
        catch (FormatException)
        {
            return false;
        }

        value = Read(bytes);
        return true;
    }

    /// <summary>Writes 16 bytes.</summary>
    /// <param name="destination">At least 16 bytes.</param>
    public void Write(Span<byte> destination)
    {
        BinaryPrimitives.WriteInt64BigEndian(destination, MostSignificant);
        BinaryPrimitives.WriteInt64BigEndian(destination[8..], LeastSignificant);
    }

    /// <summary>The 22 characters of base64url.</summary>
    public override string ToString()
    {
        Span<byte> bytes = stackalloc byte[SizeInBytes];
        Write(bytes);
        return Base64Url.EncodeToString(bytes);
    }

    /// <inheritdoc/>
    public bool Equals(Uuid other) =>
        MostSignificant == other.MostSignificant && LeastSignificant == other.LeastSignificant;

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is Uuid other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(MostSignificant, LeastSignificant);

    /// <summary>Orders by the two halves as signed numbers, as Kafka does.</summary>
    public int CompareTo(Uuid other)
    {
        int first = MostSignificant.CompareTo(other.MostSignificant);
        return first != 0 ? first : LeastSignificant.CompareTo(other.LeastSignificant);
    }

    /// <summary>Whether all 16 bytes are equal.</summary>
    public static bool operator ==(Uuid left, Uuid right) => left.Equals(right);

    /// <summary>Whether a byte differs.</summary>
    public static bool operator !=(Uuid left, Uuid right) => !left.Equals(right);
}
