using System.Buffers;
using System.Collections.Concurrent;
using KBroker.Protocol.Records;
using KBroker.Storage.Files;
using Microsoft.Extensions.Logging;

namespace KBroker.Storage.Log;

/// <summary>What the logs of one broker share.</summary>
internal sealed class LogContext
{
    private readonly ConcurrentQueue<AppendWork> _works = new();
    private long _producerIdExpirationMs;

    public required PooledFileSystem Files { get; init; }

    public required TimeProvider Time { get; init; }

    public required ILogger Logger { get; init; }

    public required CompressionCodecs Codecs { get; init; }

    public required Random Random { get; init; }

    public required StorageMetrics Metrics { get; init; }

    /// <summary>The bound on the records of one compressed batch.</summary>
    public required int MaxDecompressedBytes { get; init; }

    /// <summary><c>producer.id.expiration.ms</c>; changes at run time.</summary>
    public required long ProducerIdExpirationMs
    {
        get => Volatile.Read(ref _producerIdExpirationMs);
        set => Volatile.Write(ref _producerIdExpirationMs, value);
    }

    public long NowMs => Time.GetUtcNow().ToUnixTimeMilliseconds();

    /// <summary>The clock that measures durations.</summary>
    public long Timestamp => Time.GetTimestamp();

    /// <summary>A random part of <c>segment.jitter.ms</c>.</summary>
    public long RollJitterMs(LogConfig config)
    {
        var bound = Math.Min(config.SegmentJitterMs, config.SegmentMs);
        if (bound <= 0)
            return 0;
        lock (Random)
            return Random.NextInt64(bound);
    }

    /// <summary>Lends the scratch space of an append.</summary>
    public AppendWork RentWork() => _works.TryDequeue(out var work) ? work : new AppendWork();

    /// <summary>Takes it back.</summary>
    public void Return(AppendWork work)
    {
        work.Clear();
        _works.Enqueue(work);
    }
}

/// <summary>Scratch space of one append, used again and again so that appends allocate nothing.</summary>
internal sealed class AppendWork
{
    private readonly List<IDisposable> _owned = [];
    private RecordBatchHeader[] _headers = new RecordBatchHeader[1];
    private ReadOnlySequence<byte>[] _batches = new ReadOnlySequence<byte>[1];

    public int Count { get; private set; }

    public int TotalBytes { get; private set; }

    public int RecordsCount { get; private set; }

    public List<ReadOnlyMemory<byte>> Gather { get; } = new(8);

    public Span<RecordBatchHeader> Headers => _headers.AsSpan(0, Count);

    public ReadOnlySpan<ReadOnlySequence<byte>> Batches => _batches.AsSpan(0, Count);

    public void Add(in RecordBatchHeader header, in ReadOnlySequence<byte> bytes)
    {
        if (Count == _headers.Length)
        {
            Array.Resize(ref _headers, Count * 2);
            Array.Resize(ref _batches, Count * 2);
        }

        _headers[Count] = header;
        _batches[Count] = bytes;
        Count++;
        TotalBytes = checked(TotalBytes + header.SizeInBytes);
        RecordsCount += header.RecordsCount;
    }

    /// <summary>Disposes something when the append is over.</summary>
    public void Own(IDisposable owned) => _owned.Add(owned);

    /// <summary>Lists the pieces of memory that the batches lie in.</summary>
    public List<ReadOnlyMemory<byte>> BuildGather()
    {
        foreach (var batch in Batches)
        {
            if (batch.IsSingleSegment)
            {
                Gather.Add(batch.First);
                continue;
            }

            foreach (var piece in batch)
            {
                if (!piece.IsEmpty)
                    Gather.Add(piece);
            }
        }

        return Gather;
    }

    public void Clear()
    {
        foreach (var owned in _owned)
            owned.Dispose();
        _owned.Clear();
        Gather.Clear();
        // The sequences must not keep a request's buffers alive.
        Array.Clear(_batches, 0, Count);
        Count = 0;
        TotalBytes = 0;
        RecordsCount = 0;
    }
}
