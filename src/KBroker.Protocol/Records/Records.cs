using System.Buffers;

namespace KBroker.Protocol.Records;

/// <summary>
/// A region of a file that holds records, which a response sends without reading it. It keeps its file open until it
/// is disposed: whoever sends or drops the response disposes it, once.
/// </summary>
public interface IRecordsRegion : IDisposable
{
    /// <summary>Bytes of the region.</summary>
    int Length { get; }

    /// <summary>
    /// Reads bytes of the region, for paths where the file cannot be sent as such (TLS, small answers).
    /// </summary>
    /// <param name="position">Where to start, counted from the start of the region.</param>
    /// <param name="destination">Filled whole; the caller stays inside the region.</param>
    /// <exception cref="IOException">The file is shorter than the region, or unreadable.</exception>
    void Read(int position, Span<byte> destination);
}

/// <summary>One part of <see cref="Records"/>: bytes in memory, or a region of a file.</summary>
public readonly struct RecordsPart
{
    /// <summary>A part in memory.</summary>
    /// <param name="bytes">The bytes; not copied.</param>
    public RecordsPart(ReadOnlySequence<byte> bytes) => Bytes = bytes;

    /// <summary>A part in a file.</summary>
    /// <param name="region">Where it lies.</param>
    public RecordsPart(IRecordsRegion region) => Region = region;

    /// <summary>The bytes, empty where <see cref="Region"/> is set.</summary>
    public ReadOnlySequence<byte> Bytes { get; }

    /// <summary>The file region, or null for a part in memory.</summary>
    public IRecordsRegion? Region { get; }

    /// <summary>Bytes of the part.</summary>
    public int SizeInBytes => Region is null ? checked((int)Bytes.Length) : Region.Length;
}

/// <summary>
/// The value of a protocol field of type <c>records</c>: a run of record batches as they lie on the wire and on disk,
/// in memory or in files, in one part or several (one fetch may span two segments). Never copies.
/// </summary>
public readonly struct Records : IDisposable
{
    /// <summary>Null for bytes alone; otherwise one <see cref="IRecordsRegion"/> or an array of parts.</summary>
    private readonly object? _other;
    private readonly ReadOnlySequence<byte> _bytes;

    /// <summary>Records in memory.</summary>
    /// <param name="bytes">Whole batches, normally; not copied and not checked.</param>
    public Records(ReadOnlySequence<byte> bytes)
    {
        _bytes = bytes;
        SizeInBytes = checked((int)bytes.Length);
    }

    /// <summary>Records in memory.</summary>
    /// <param name="bytes">Not copied and not checked.</param>
    public Records(ReadOnlyMemory<byte> bytes)
        : this(new ReadOnlySequence<byte>(bytes))
    {
    }

    /// <summary>Records in a file.</summary>
    /// <param name="region">Where they lie.</param>
    public Records(IRecordsRegion region)
    {
        ArgumentNullException.ThrowIfNull(region);
        _other = region;
        SizeInBytes = region.Length;
    }

    /// <summary>Records in several parts, in order.</summary>
    /// <param name="parts">Copied.</param>
    public Records(ReadOnlySpan<RecordsPart> parts)
    {
        foreach (var part in parts)
            SizeInBytes = checked(SizeInBytes + part.SizeInBytes);
        if (parts.Length == 1 && parts[0].Region is null)
            _bytes = parts[0].Bytes;
        else if (parts.Length == 1)
            _other = parts[0].Region;
        else if (parts.Length > 1)
            _other = parts.ToArray();
    }

    /// <summary>No records: zero bytes (which the protocol tells from null).</summary>
    public static Records Empty => default;

    /// <summary>Bytes of all parts.</summary>
    public int SizeInBytes { get; }

    /// <summary>Whether there are no bytes.</summary>
    public bool IsEmpty => SizeInBytes == 0;

    /// <summary>Number of parts; 0 when there are no bytes.</summary>
    public int PartCount => IsEmpty ? 0 : _other is RecordsPart[] parts ? parts.Length : 1;

    /// <summary>One part.</summary>
    /// <param name="index">0 to <see cref="PartCount"/> - 1.</param>
    /// <returns>The part; not empty unless it was given so.</returns>
    public RecordsPart this[int index]
    {
        get
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)index, (uint)PartCount, nameof(index));
            return _other switch
            {
                RecordsPart[] parts => parts[index],
                IRecordsRegion region => new RecordsPart(region),
                _ => new RecordsPart(_bytes),
            };
        }
    }

    /// <summary>The bytes, when all of them are in memory in one part.</summary>
    /// <param name="bytes">The bytes; empty when there are none.</param>
    /// <returns>False when a file region is part of it, or there are several parts.</returns>
    public bool TryGetBytes(out ReadOnlySequence<byte> bytes)
    {
        bytes = _bytes;
        return _other is null;
    }

    /// <summary>The file region, when it is the only part.</summary>
    /// <param name="region">The region.</param>
    /// <returns>False when bytes, or several parts, are there.</returns>
    public bool TryGetRegion([System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out IRecordsRegion? region)
    {
        region = _other as IRecordsRegion;
        return region is not null;
    }

    /// <summary>
    /// Gives up the file regions, so that their files may be closed. Bytes in memory are not touched.
    /// </summary>
    public void Dispose()
    {
        for (var i = 0; i < PartCount; i++)
            this[i].Region?.Dispose();
    }

    /// <summary>Copies everything, reading files where needed: for tests and small records only.</summary>
    /// <returns>A fresh array of <see cref="SizeInBytes"/>.</returns>
    public byte[] ToArray()
    {
        var result = new byte[SizeInBytes];
        CopyTo(result);
        return result;
    }

    /// <summary>Copies everything, reading files where needed.</summary>
    /// <param name="destination">At least <see cref="SizeInBytes"/>.</param>
    public void CopyTo(Span<byte> destination)
    {
        for (var i = 0; i < PartCount; i++)
        {
            var part = this[i];
            var size = part.SizeInBytes;
            if (part.Region is null)
                part.Bytes.CopyTo(destination);
            else
                part.Region.Read(0, destination[..size]);
            destination = destination[size..];
        }
    }
}
