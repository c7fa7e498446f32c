using System.Buffers;
using System.Runtime.InteropServices;
using KBroker.Protocol.Records;
using KBroker.Storage.Segments;

namespace KBroker.Storage.Cleaning;

/// <summary>
/// Writes what stays of a group of segments to new files that end with <c>.cleaned</c>: one segment, or more where one
/// could not hold the bytes or the offsets (so a segment that some early Kafka let grow too far is split).
/// </summary>
internal sealed class CleanedSegments : IDisposable
{
    private readonly PartitionLog _log;
    private readonly LogConfig _config;
    private readonly CleaningThrottle _throttle;
    private readonly byte[] _buffer;
    private readonly ReadOnlyMemory<byte>[] _gather = new ReadOnlyMemory<byte>[1];
    private readonly List<LogSegment> _segments = [];
    private readonly List<RecordBatchHeader> _headers = [];
    private readonly List<AbortedTransaction> _transactions = [];
    private readonly long _createdMs;
    private readonly long _rollJitterMs;
    private int _buffered;

    /// <summary>Creates the first segment.</summary>
    /// <param name="log">The log.</param>
    /// <param name="group">The segments to be replaced.</param>
    /// <param name="config">The log's configs.</param>
    /// <param name="bufferBytes">Bytes written at a time.</param>
    /// <param name="throttle">Bounds the rate.</param>
    public CleanedSegments(
        PartitionLog log, IReadOnlyList<LogSegment> group, LogConfig config, int bufferBytes, CleaningThrottle throttle)
    {
        _log = log;
        _config = config;
        _throttle = throttle;
        _createdMs = group[^1].CreatedMs;
        _rollJitterMs = group[^1].RollJitterMs;
        _buffer = ArrayPool<byte>.Shared.Rent(bufferBytes);
        AddSegment(group[0].BaseOffset);
    }

    /// <summary>The new segments, in order.</summary>
    public IReadOnlyList<LogSegment> Segments => _segments;

    /// <summary>Bytes written.</summary>
    public long BytesWritten => _segments.Sum(static s => (long)s.SizeInBytes) + _buffered;

    /// <summary>Adds a batch.</summary>
    public void Add(ReadOnlyMemory<byte> batch, CancellationToken abort)
    {
        if (!RecordBatchHeader.TryParse(batch.Span, out var header))
            throw new ArgumentException("Shorter than the header of a batch.", nameof(batch));
        var segment = _segments[^1];
        if (header.LastOffset - segment.BaseOffset > int.MaxValue
            || segment.SizeInBytes + (long)_buffered + batch.Length > int.MaxValue)
        {
            WriteBuffer(abort);
            AddSegment(header.BaseOffset);
        }

        foreach (var transaction in _transactions)
            _segments[^1].TransactionIndex.Append(transaction);
        _transactions.Clear();
        if (_buffered + batch.Length > _buffer.Length)
            WriteBuffer(abort);
        if (batch.Length > _buffer.Length)
        {
            _headers.Add(header);
            Write(batch, abort);
            return;
        }

        batch.CopyTo(_buffer.AsMemory(_buffered));
        _buffered += batch.Length;
        _headers.Add(header);
    }

    /// <summary>Adds an aborted transaction; the batch added next is its marker.</summary>
    public void Add(AbortedTransaction transaction) => _transactions.Add(transaction);

    /// <summary>Finishes the segments and puts them on stable storage; their names are not yet.</summary>
    public void Complete(CancellationToken abort)
    {
        WriteBuffer(abort);
        foreach (var segment in _segments)
        {
            segment.SealIndexes();
            segment.Flush(withIndexes: true);
        }
    }

    /// <summary>Deletes what was written.</summary>
    public void Discard()
    {
        foreach (var segment in _segments)
        {
            segment.Dispose();
            segment.DeleteFiles(_log.State.Context.Files);
        }

        _segments.Clear();
    }

    public void Dispose() => ArrayPool<byte>.Shared.Return(_buffer);

    private void AddSegment(long baseOffset)
    {
        if (_segments.Count > 0 && baseOffset <= _segments[^1].BaseOffset)
            throw new InvalidOperationException($"A batch at {baseOffset} does not fit into one segment.");
        var state = _log.State;
        SegmentPaths.Delete(state.Context.Files, state.Path, baseOffset, SegmentPaths.Cleaned);
        _segments.Add(LogSegment.Create(
            state.Context.Files, state.Path, baseOffset, _createdMs, _rollJitterMs, SegmentPaths.Cleaned));
    }

    private void WriteBuffer(CancellationToken abort)
    {
        if (_buffered == 0)
            return;
        Write(_buffer.AsMemory(0, _buffered), abort);
        _buffered = 0;
    }

    private void Write(ReadOnlyMemory<byte> bytes, CancellationToken abort)
    {
        abort.ThrowIfCancellationRequested();
        _gather[0] = bytes;
        _segments[^1].Append(
            _gather,
            CollectionsMarshal.AsSpan(_headers),
            bytes.Length,
            _config.IndexIntervalBytes);
        _headers.Clear();
        _throttle.Take(bytes.Length, abort);
    }
}
