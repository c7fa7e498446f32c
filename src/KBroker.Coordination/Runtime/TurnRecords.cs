using System.Buffers;
using KBroker.Protocol;

namespace KBroker.Coordination.Runtime;

/// <summary>The records of one turn, encoded one behind the other in a pooled buffer. Not thread-safe.</summary>
internal sealed class TurnRecords : IDisposable
{
    private const int KeepBytes = 64 * 1024;
    private readonly ProtocolWriter _writer = new();
    private readonly List<(int Start, int KeyLength, int ValueLength)> _records = [];
    private byte[] _bytes = [];
    private int _length;

    /// <summary>Number of records.</summary>
    public int Count => _records.Count;

    /// <summary>Key and value of a record; no value is a tombstone. Valid until <see cref="Clear"/>.</summary>
    /// <param name="index">From 0.</param>
    public (ReadOnlyMemory<byte> Key, ReadOnlyMemory<byte>? Value) this[int index]
    {
        get
        {
            var (start, keyLength, valueLength) = _records[index];
            var key = _bytes.AsMemory(start, keyLength);
            // Not "valueLength < 0 ? null : ...": that null would be empty memory.
            ReadOnlyMemory<byte>? value = null;
            if (valueLength >= 0)
                value = _bytes.AsMemory(start + keyLength, valueLength);
            return (key, value);
        }
    }

    /// <summary>Encodes a record.</summary>
    /// <param name="record">The record.</param>
    public void Add(in CoordinatorRecord record)
    {
        var start = _length;
        CoordinatorRecordCodec.WriteKey(_writer, record.Key);
        var keyLength = (int)_writer.TotalBytes;
        if (record.Value is { } value)
            CoordinatorRecordCodec.WriteValue(_writer, value, record.ValueVersion);
        var total = checked((int)_writer.TotalBytes);
        Reserve(total);
        foreach (var segment in _writer.Segments)
        {
            segment.Bytes.Span.CopyTo(_bytes.AsSpan(_length));
            _length += segment.Length;
        }

        _writer.Reset();
        _records.Add((start, keyLength, record.Value is null ? -1 : total - keyLength));
    }

    /// <summary>Forgets all records.</summary>
    public void Clear()
    {
        _records.Clear();
        _length = 0;
        if (_bytes.Length > KeepBytes)
            Dispose();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_bytes.Length > 0)
            ArrayPool<byte>.Shared.Return(_bytes);
        _bytes = [];
        _writer.Dispose();
    }

    private void Reserve(int more)
    {
        if (more <= _bytes.Length - _length)
            return;
        var larger = ArrayPool<byte>.Shared.Rent(Math.Max(checked(_length + more), _bytes.Length * 2));
        _bytes.AsSpan(0, _length).CopyTo(larger);
        if (_bytes.Length > 0)
            ArrayPool<byte>.Shared.Return(_bytes);
        _bytes = larger;
    }
}
