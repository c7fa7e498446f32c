using System.Buffers;
using KBroker.Protocol.Records;
using KBroker.Storage;

namespace KBroker.Delivery.Delay;

/// <summary>A batch that was read from a log, with its records.</summary>
internal sealed class OriginBatch(byte[] pooled, int length, CompressionCodecs codecs) : IDisposable
{
    private readonly RecordBatchReader _reader = new(pooled.AsMemory(0, length), codecs, int.MaxValue);

    public ref readonly RecordBatchHeader Header => ref _reader.Header;

    /// <summary>Lets <see cref="TryRead"/> begin with the first record.</summary>
    public void Rewind() => _reader.Rewind();

    /// <summary>Reads the next record, valid until the batch is disposed.</summary>
    public bool TryRead(out Record record) => _reader.TryRead(out record);

    /// <summary>Finds the record with an offset.</summary>
    public bool TryFind(long offset, out Record record) => _reader.TryFind(offset, out record);

    public void Dispose()
    {
        _reader.Dispose();
        ArrayPool<byte>.Shared.Return(pooled);
    }
}

/// <summary>Reads single records of a log; keeps the last batches, because what is due together often lies together.
/// Not thread-safe.</summary>
internal sealed class OriginReader(CompressionCodecs codecs) : IDisposable
{
    private const int BatchesMax = 8;
    private readonly LinkedList<OriginBatch> _batches = [];

    /// <summary>Reads the batch that holds an offset.</summary>
    /// <param name="log">The log.</param>
    /// <param name="offset">The offset.</param>
    /// <returns>The batch, valid until a few other ones were read; null when the log has no record there.</returns>
    /// <exception cref="IOException">The file cannot be read.</exception>
    /// <exception cref="RecordException">It is damaged.</exception>
    public OriginBatch? ReadBatch(PartitionLog log, long offset)
    {
        for (var node = _batches.First; node is not null; node = node.Next)
        {
            if (offset < node.Value.Header.BaseOffset || offset > node.Value.Header.LastOffset)
                continue;
            _batches.Remove(node);
            _batches.AddFirst(node);
            return node.Value;
        }

        if (offset < log.LogStartOffset || offset >= log.LogEndOffset)
            return null;
        var batch = Load(log, offset);
        if (batch is null)
            return null;
        _batches.AddFirst(batch);
        if (_batches.Count > BatchesMax)
        {
            _batches.Last!.Value.Dispose();
            _batches.RemoveLast();
        }

        return batch;
    }

    /// <summary>Reads one record.</summary>
    public bool TryRead(PartitionLog log, long offset, out Record record, out RecordBatchHeader header)
    {
        record = default;
        header = default;
        if (ReadBatch(log, offset) is not { } batch)
            return false;
        header = batch.Header;
        return batch.TryFind(offset, out record);
    }

    /// <summary>Forgets everything: the log is another one now.</summary>
    public void Clear()
    {
        foreach (var batch in _batches)
            batch.Dispose();
        _batches.Clear();
    }

    public void Dispose() => Clear();

    private OriginBatch? Load(PartitionLog log, long offset)
    {
        var read = log.Read(offset, 1, long.MaxValue, minOneMessage: true);
        using var records = read.Records;
        if (!records.TryGetRegion(out var region))
            return null;
        // Asked for one byte, the log answers with one batch.
        var length = checked((int)region.Length);
        var batch = ArrayPool<byte>.Shared.Rent(length);
        region.Read(0, batch.AsSpan(0, length));
        return RecordBatchHeader.TryParse(batch, out var header) && header.BaseOffset <= offset
            ? new OriginBatch(batch, header.SizeInBytes, codecs)
            : null;
    }
}
