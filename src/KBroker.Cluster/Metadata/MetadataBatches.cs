using System.Buffers;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;

namespace KBroker.Cluster.Metadata;

/// <summary>One batch of the metadata log or of a snapshot, decoded: either data records or control records.</summary>
internal sealed class MetadataBatch
{
    public required long BaseOffset { get; init; }

    public required long LastOffset { get; init; }

    public required int Epoch { get; init; }

    /// <summary>Append time (ms).</summary>
    public required long TimestampMs { get; init; }

    /// <summary>The data records; empty in a control batch.</summary>
    public IReadOnlyList<IMessage> Records { get; init; } = [];

    /// <summary>The control records: type and value.</summary>
    public IReadOnlyList<(ControlRecordType Type, ReadOnlyMemory<byte> Value)> Control { get; init; } = [];
}

/// <summary>Turns metadata records into batches and back. A data record has a null key and a framed value.</summary>
internal static class MetadataBatches
{
    // Batches are never compressed in a metadata log; the bound only keeps a damaged file from asking for more.
    private const int MaxDecompressedBytes = 64 * 1024 * 1024;

    /// <summary>A batch of data records whose values are framed already.</summary>
    public static byte[] Data(
        IReadOnlyList<ReadOnlyMemory<byte>> values, long baseOffset, int leaderEpoch, long timestampMs)
    {
        using var builder = new RecordBatchBuilder(new RecordBatchOptions
        {
            BaseOffset = baseOffset,
            PartitionLeaderEpoch = leaderEpoch,
        });
        foreach (var value in values)
            builder.Append(timestampMs, null, value);
        return builder.Build().ToArray();
    }

    /// <summary>A batch of control records.</summary>
    public static byte[] Control(
        IReadOnlyList<(ControlRecordType Type, IMessage Message)> records, long baseOffset, int leaderEpoch,
            long timestampMs)
    {
        using var builder = new RecordBatchBuilder(new RecordBatchOptions
        {
            BaseOffset = baseOffset,
            PartitionLeaderEpoch = leaderEpoch,
            IsControl = true,
        });
        foreach (var (type, message) in records)
        {
            using var writer = new ProtocolWriter();
            message.Write(writer, 0);
            builder.Append(timestampMs, ControlRecord.Key(type), writer.ToArray());
        }

        return builder.Build().ToArray();
    }

    /// <summary>Decodes a run of whole batches.</summary>
    /// <exception cref="InvalidMetadataException">Something in it cannot be read; the message says where.</exception>
    public static IEnumerable<MetadataBatch> Decode(
        ReadOnlyMemory<byte> bytes, CompressionCodecs codecs, string source)
    {
        var sequence = new ReadOnlySequence<byte>(bytes);
        var batches = new List<RecordBatch>();
        try
        {
            foreach (var batch in RecordBatches.Enumerate(sequence))
            {
                RecordBatches.EnsureValidCrc(batch.Bytes);
                batches.Add(batch);
            }
        }
        catch (RecordException e)
        {
            throw new InvalidMetadataException($"{source}: {e.Message}", e);
        }

        return batches.Select(b => DecodeBatch(b, codecs, source));
    }

    private static MetadataBatch DecodeBatch(in RecordBatch batch, CompressionCodecs codecs, string source)
    {
        var records = new List<IMessage>();
        var control = new List<(ControlRecordType, ReadOnlyMemory<byte>)>();
        long offset = batch.Header.BaseOffset;
        try
        {
            using var reader = new RecordBatchReader(batch.Bytes, codecs, MaxDecompressedBytes);
            while (reader.TryRead(out var record))
            {
                offset = record.Offset;
                if (record.Value is not { } value)
                    throw new InvalidMetadataException("the value is null");
                if (!batch.Header.IsControl)
                    records.Add(MetadataRecordCodec.Decode(value.ToArray()));
                else if (ControlRecord.TryParseKey(record.Key, out var type))
                    control.Add((type, value.ToArray()));
            }
        }
        catch (Exception e) when (e is RecordException or ProtocolException or InvalidMetadataException)
        {
            throw new InvalidMetadataException($"{source}, record at offset {offset}: {e.Message}", e);
        }

        return new MetadataBatch
        {
            BaseOffset = batch.Header.BaseOffset,
            LastOffset = batch.Header.LastOffset,
            Epoch = batch.Header.PartitionLeaderEpoch,
            TimestampMs = batch.Header.MaxTimestamp,
            Records = records,
            Control = control,
        };
    }
}
