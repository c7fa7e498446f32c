using System.Buffers;

namespace KBroker.Protocol.Records;

/// <summary>The running state of a walk over the records of one batch.</summary>
internal struct RecordWalk(in RecordBatchHeader header)
{
    private readonly long _baseTimestamp = header.BaseTimestamp;
    private readonly long _headerMaxTimestamp = header.MaxTimestamp;
    private readonly bool _logAppendTime = header.TimestampType == TimestampType.LogAppendTime;
    private readonly int _lastOffsetDelta = header.LastOffsetDelta;
    private long _minTimestamp = long.MaxValue;
    private long _maxTimestamp = long.MinValue;
    private long _headersCount;
    private long _requestHeadersCount;
    private int _offsetDeltaOfMax = -1;
    private int _previousDelta = -1;
    private int _keylessCount;
    private int _firstKeyless = -1;
    private bool _consecutive = true;
    private bool _ascending = true;

    public readonly int ExpectedCount = header.RecordsCount;

    public int Count { get; private set; }

    /// <summary>Walks over the records that lie whole in a span.</summary>
    /// <returns>The bytes of these records.</returns>
    public int WalkWhole(ReadOnlySpan<byte> source)
    {
        var position = 0;
        while (Count < ExpectedCount)
        {
            var start = position;
            if (!VarInt.TryRead(source, ref start, out int length))
                return position;
            if (length < 0)
                RecordFields.ThrowLength(length, source.Length - start);
            if (length > source.Length - start)
                return position;
            RecordFields.Parse(source.Slice(start, length), out var fields);
            Add(fields);
            position = start + length;
        }

        return position;
    }

    /// <summary>Walks over one record that spans segments.</summary>
    public void WalkFragmented(ref SequenceReader<byte> reader)
    {
        if (!VarInt.TryRead(ref reader, out int length) || length < 0 || length > reader.Remaining)
            RecordFields.ThrowLength(length, reader.Remaining);
        RecordFields.ParseFragmented(ref reader, length, out var fields);
        Add(fields);
    }

    public readonly RecordBatchSummary Summarise(int uncompressedBytes)
    {
        var none = Count == 0;
        return new RecordBatchSummary
        {
            RecordsCount = Count,
            KeylessCount = _keylessCount,
            FirstKeylessIndex = _firstKeyless,
            HeadersCount = _headersCount,
            RequestHeadersCount = _requestHeadersCount,
            MinTimestamp = none ? -1 : _minTimestamp,
            MaxTimestamp = none ? -1 : _maxTimestamp,
            OffsetDeltaOfMaxTimestamp = _offsetDeltaOfMax,
            OffsetsConsecutive = _consecutive && _previousDelta == _lastOffsetDelta,
            OffsetsAscending = _ascending && _previousDelta <= _lastOffsetDelta,
            UncompressedBytes = uncompressedBytes,
        };
    }

    private void Add(in RecordFields fields)
    {
        var delta = fields.OffsetDelta;
        if (delta != _previousDelta + 1)
        {
            _consecutive = false;
            _ascending &= delta > _previousDelta;
        }

        _previousDelta = delta;
        if (fields.KeyLength < 0)
        {
            if (_keylessCount++ == 0)
                _firstKeyless = Count;
        }

        // The sum wraps where a delta is hostile, as it does in every reader; so sums are compared, never deltas.
        var timestamp = _logAppendTime ? _headerMaxTimestamp : _baseTimestamp + fields.TimestampDelta;
        if (timestamp > _maxTimestamp || Count == 0)
        {
            _maxTimestamp = timestamp;
            _offsetDeltaOfMax = delta;
        }

        if (timestamp < _minTimestamp)
            _minTimestamp = timestamp;
        _headersCount += fields.HeadersCount;
        _requestHeadersCount += fields.RequestHeadersCount;
        Count++;
    }
}
