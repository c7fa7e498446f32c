using System.Buffers;
using KBroker.Protocol.Records;

namespace KBroker.Storage.Segments;

/// <summary>What the scan of one segment found.</summary>
/// <param name="NextOffset">The offset behind its last good batch.</param>
/// <param name="CutBytes">Bytes of rubbish behind that batch.</param>
/// <param name="Problem">What is wrong with those; null when there are none.</param>
internal readonly record struct RecoveredSegment(long NextOffset, long CutBytes, string? Problem);

/// <summary>
/// Reads the part of a segment that may not be on stable storage, checks every batch, and makes the indexes anew.
/// </summary>
/// <remarks>
/// Index entries below the recovery point that point at a batch are kept, and the scan starts at the last of them.
/// Below the recovery point only the chain of headers is followed: if it breaks there, bytes that were once safe are
/// damaged (<see cref="CorruptLogException"/>). Behind it each batch must be whole, have a good CRC and follow its
/// predecessor; the first that does not is where the crash tore the file.
/// </remarks>
internal sealed class SegmentRecovery(LogSegment segment, long recoveryPoint, int indexIntervalBytes)
{
    private const int ChunkBytes = 1024 * 1024;
    private bool _isBelowRecoveryPoint;

    /// <summary>Called with the header of every batch scanned.</summary>
    public Action<RecordBatchHeader>? OnBatch { get; init; }

    /// <summary>Called with the number of bytes read, chunk by chunk.</summary>
    public Action<long>? OnScanned { get; init; }

    /// <summary>Scans from the last trusted index entry; sets the segment's size, but does not cut the file.</summary>
    public RecoveredSegment Run()
    {
        var length = (int)Math.Min(segment.File.File.Length, int.MaxValue);
        var position = TrimIndexes(length, out var nextOffset);
        segment.SetRecovered(position, 0);
        // A power cut may have lost entries of batches that it kept.
        if (segment.FlagIndex.Exists())
            segment.RebuildFlagIndex(position);
        var buffer = ArrayPool<byte>.Shared.Rent(ChunkBytes);
        string? problem = null;
        try
        {
            while (position < length && problem is null)
                problem = ScanChunk(ref buffer, ref position, ref nextOffset, length);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }

        if (problem is not null && (nextOffset < recoveryPoint || _isBelowRecoveryPoint))
            throw new CorruptLogException(segment.File.Path, position, problem);
        return new RecoveredSegment(nextOffset, length - position, problem);
    }

    private string? ScanChunk(ref byte[] buffer, ref int position, ref long nextOffset, int length)
    {
        var read = segment.File.File.Read(buffer.AsSpan(0, Math.Min(buffer.Length, length - position)), position);
        OnScanned?.Invoke(read);
        var consumed = 0;
        while (consumed < read)
        {
            var rest = buffer.AsMemory(consumed, read - consumed);
            var status = RecordBatches.Inspect(new ReadOnlySequence<byte>(rest), out var header);
            if (status == RecordBatchStatus.Incomplete)
            {
                if (position - consumed + read >= length)
                    return "a batch ends behind the end of the file";
                if (consumed == 0 && !Grow(ref buffer, header.SizeInBytes, length - position))
                    return $"a batch of {header.SizeInBytes} bytes does not fit into the file";
                return null;
            }

            if (status != RecordBatchStatus.Whole)
                return $"no record batch starts here ({status})";
            if (Judge(header, rest.Span[..header.SizeInBytes], nextOffset) is { } problem)
                return problem;
            segment.IndexBatch(header, position, indexIntervalBytes);
            OnBatch?.Invoke(header);
            nextOffset = header.NextOffset;
            consumed += header.SizeInBytes;
            position += header.SizeInBytes;
            segment.SetRecoveredSize(position);
        }

        return null;
    }

    private string? Judge(in RecordBatchHeader header, ReadOnlySpan<byte> batch, long nextOffset)
    {
        if (header.BaseOffset < nextOffset || header.LastOffsetDelta < 0
            || header.LastOffset - segment.BaseOffset > int.MaxValue)
        {
            // Behind a wrong offset, which no checksum covers, come batches that were safe: they are not a torn end.
            _isBelowRecoveryPoint = header.BaseOffset < recoveryPoint;
            return $"a batch with offsets {header.BaseOffset} to {header.LastOffset} follows offset {nextOffset - 1}";
        }

        if (header.NextOffset <= recoveryPoint)
            return null;
        return Crc32C.Compute(batch[RecordBatchLayout.Attributes..]) == header.Crc
            ? null
            : $"the checksum of the batch with offset {header.BaseOffset} does not hold";
    }

    private static bool Grow(ref byte[] buffer, int needed, int available)
    {
        if (needed > available)
            return false;
        if (needed <= buffer.Length)
            return true;
        ArrayPool<byte>.Shared.Return(buffer);
        buffer = ArrayPool<byte>.Shared.Rent(needed);
        return true;
    }

    /// <summary>Keeps the index entries that can be trusted.</summary>
    /// <returns>Where to start scanning.</returns>
    private int TrimIndexes(int length, out long nextOffset)
    {
        nextOffset = segment.BaseOffset;
        try
        {
            segment.OffsetIndex.TruncateTo(recoveryPoint);
            segment.TimeIndex.TruncateTo(recoveryPoint);
            var last = segment.OffsetIndex.Last;
            if (last.Position > 0 && segment.IsBatchAt(last.Position, length, last.Offset, out var header))
            {
                nextOffset = header.BaseOffset;
                segment.OffsetIndex.TruncateToEntries(segment.OffsetIndex.Count - 1);
                segment.TimeIndex.TruncateTo(last.Offset);
                segment.ForgetMaxTimestamp();
                return last.Position;
            }
        }
        catch (Exception exception) when (exception is IOException or OverflowException)
        {
            // An index that cannot be read is made anew like one that does not fit.
        }

        segment.OffsetIndex.Reset();
        segment.TimeIndex.Reset();
        segment.ForgetMaxTimestamp();
        return 0;
    }
}
