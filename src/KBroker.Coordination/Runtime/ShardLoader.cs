using System.Buffers;
using KBroker.Cluster.Replication;
using KBroker.Protocol;
using KBroker.Protocol.Records;
using Microsoft.Extensions.Logging;

namespace KBroker.Coordination.Runtime;

/// <summary>What a load has read.</summary>
/// <param name="EndOffset">The log's end.</param>
/// <param name="RecordsCount">Records replayed.</param>
/// <param name="SizeInBytes">Bytes read.</param>
/// <param name="Elapsed">How long it took.</param>
internal sealed record LoadSummary(long EndOffset, long RecordsCount, long SizeInBytes, TimeSpan Elapsed);

/// <summary>A log that cannot be replayed; the message names the offset.</summary>
/// <param name="message">What is wrong where.</param>
/// <param name="inner">What was met there.</param>
internal sealed class ShardLoadException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>
/// Reads a shard's log from its first offset to its end and replays every record into a state. Record types that this
/// build does not know are left out, as Kafka does; anything that cannot be read stops the load.
/// </summary>
/// <param name="options">What the coordinator works with.</param>
/// <param name="partition">The log.</param>
/// <param name="cancellation">Stops between two reads.</param>
internal sealed class ShardLoader(CoordinatorOptions options, Partition partition, CancellationToken cancellation)
{
    private const int MaxDecompressedBytes = 256 * 1024 * 1024;
    private static readonly TimeSpan FirstProgress = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan NextProgress = TimeSpan.FromSeconds(5);

    private readonly HashSet<short> _unknownTypes = [];
    private long _recordsCount;
    private long _sizeInBytes;
    private long _offset;

    /// <summary>Reads and replays everything.</summary>
    /// <param name="state">An empty state.</param>
    /// <returns>What was read.</returns>
    /// <exception cref="ShardLoadException">The log is damaged, or not readable.</exception>
    /// <exception cref="OperationCanceledException">The load was given up.</exception>
    public LoadSummary Load(ICoordinatorState state)
    {
        var began = options.Time.GetTimestamp();
        var progressAt = FirstProgress;
        _offset = partition.Log.LogStartOffset;
        byte[] buffer = [];
        try
        {
            while (_offset < partition.Log.LogEndOffset)
            {
                cancellation.ThrowIfCancellationRequested();
                var length = Read(ref buffer);
                if (length == 0)
                    break;
                Replay(state, buffer.AsMemory(0, length));
                var elapsed = options.Time.GetElapsedTime(began);
                if (elapsed < progressAt)
                    continue;
                progressAt = elapsed + NextProgress;
                options.Logger.LogInformation(
                    "Loading {Partition}: {Records} records, {Megabytes:0.0} MB so far, at offset {Offset} of {End}",
                    partition.TopicPartition, _recordsCount, _sizeInBytes / 1e6, _offset, partition.Log.LogEndOffset);
            }
        }
        finally
        {
            if (buffer.Length > 0)
                ArrayPool<byte>.Shared.Return(buffer);
        }

        var summary = new LoadSummary(
            partition.Log.LogEndOffset, _recordsCount, _sizeInBytes, options.Time.GetElapsedTime(began));
        options.Metrics.Loaded(summary.Elapsed);
        options.Logger.Log(
            summary.Elapsed < FirstProgress ? LogLevel.Debug : LogLevel.Information,
            "Loaded {Partition}: {Records} records, {Megabytes:0.0} MB in {Milliseconds:0} ms",
            partition.TopicPartition, _recordsCount, _sizeInBytes / 1e6, summary.Elapsed.TotalMilliseconds);
        return summary;
    }

    /// <summary>Reads the next whole batches into the buffer.</summary>
    private int Read(ref byte[] buffer)
    {
        var read = partition.Read(_offset, options.LoadBufferBytes, ReadLimit.LogEnd, -1, -1, minOneMessage: true);
        if (read.Error != ErrorCode.None)
        {
            throw new ShardLoadException(
                $"reading at offset {_offset} failed with {ErrorCodes.Name(read.Error)}");
        }

        using var records = read.Records;
        var length = records.SizeInBytes;
        if (buffer.Length < length)
        {
            if (buffer.Length > 0)
                ArrayPool<byte>.Shared.Return(buffer);
            buffer = ArrayPool<byte>.Shared.Rent(length);
        }

        try
        {
            records.CopyTo(buffer.AsSpan(0, length));
        }
        catch (IOException failure)
        {
            throw new ShardLoadException($"reading at offset {_offset} failed: {failure.Message}", failure);
        }

        return length;
    }

    private void Replay(ICoordinatorState state, ReadOnlyMemory<byte> bytes)
    {
        var rest = bytes;
        while (true)
        {
            var status = RecordBatches.Inspect(new ReadOnlySequence<byte>(rest), out var header);
            // A read may end within a batch; the next one begins with it.
            if (status is RecordBatchStatus.End or RecordBatchStatus.Incomplete && rest.Length < bytes.Length)
                return;
            if (status != RecordBatchStatus.Whole)
                throw new ShardLoadException($"no record batch stands at offset {_offset} ({status})");
            var batch = rest[..header.SizeInBytes];
            try
            {
                Replay(state, header, batch);
            }
            catch (Exception failure) when (failure is RecordException or ProtocolException)
            {
                throw new ShardLoadException(
                    $"the record at offset {_offset} cannot be read: {failure.Message}", failure);
            }

            _sizeInBytes += header.SizeInBytes;
            _offset = Math.Max(_offset, header.NextOffset);
            rest = rest[header.SizeInBytes..];
        }
    }

    private void Replay(ICoordinatorState state, in RecordBatchHeader header, ReadOnlyMemory<byte> batch)
    {
        RecordBatches.EnsureValidCrc(new ReadOnlySequence<byte>(batch));
        var producerId = header.IsTransactional ? header.ProducerId : -1;
        var producerEpoch = header.IsTransactional ? header.ProducerEpoch : (short)-1;
        var first = _offset;
        using var reader = new RecordBatchReader(batch, options.Codecs, MaxDecompressedBytes);
        while (reader.TryRead(out var record))
        {
            if (record.Offset < first)
                continue;
            _offset = record.Offset;
            _recordsCount++;
            if (header.IsControl)
                ReplayControl(state, header, record);
            else
                Replay(state, new ReplayContext(record.Offset, producerId, producerEpoch), record);
        }
    }

    private void Replay(ICoordinatorState state, in ReplayContext context, in Record record)
    {
        if (record.Key is not { } keyBytes)
            throw new ProtocolException("It has no key.");
        var type = CoordinatorRecordCodec.TypeOf(keyBytes.Span);
        if (options.Codec.ReadKey(keyBytes) is not { } key)
        {
            if (_unknownTypes.Add(type))
            {
                options.Logger.LogWarning(
                    "{Partition} has records of the unknown type {Type}, the first at offset {Offset}; they are "
                    + "left out. They may be of a newer version that ran here before",
                    partition.TopicPartition, type, context.Offset);
            }

            return;
        }

        state.Replay(context, key, record.Value is { } value ? options.Codec.ReadValue(type, value) : null);
    }

    private static void ReplayControl(ICoordinatorState state, in RecordBatchHeader header, in Record record)
    {
        if (!ControlRecord.TryParseKey(record.Key, out var type))
            throw new ProtocolException("Its key is not that of a control record.");
        if (type is ControlRecordType.Commit or ControlRecordType.Abort)
        {
            state.ReplayTransactionEnd(
                header.ProducerId, header.ProducerEpoch, isCommit: type == ControlRecordType.Commit);
        }
    }
}
