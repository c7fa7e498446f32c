namespace KBroker.Storage;

/// <summary>
/// What the broker's configs say of compaction. Immutable; all of it may be changed at run time but
/// <see cref="Enabled"/>. The defaults are Kafka's.
/// </summary>
public sealed record CleanerSettings
{
    /// <summary><c>log.cleaner.enable</c>.</summary>
    public bool Enabled { get; init; } = true;

    /// <summary><c>log.cleaner.threads</c>.</summary>
    public int Threads { get; init; } = 1;

    /// <summary><c>log.cleaner.dedupe.buffer.size</c>: bytes of the offset maps of all threads.</summary>
    public long DedupeBufferBytes { get; init; } = 128 * 1024 * 1024;

    /// <summary><c>log.cleaner.io.buffer.load.factor</c>: how full an offset map may get.</summary>
    public double LoadFactor { get; init; } = 0.9;

    /// <summary><c>log.cleaner.io.buffer.size</c>: bytes of the read and write buffers of all threads.</summary>
    public int IoBufferBytes { get; init; } = 512 * 1024;

    /// <summary><c>log.cleaner.io.max.bytes.per.second</c>: bound on reading and writing together.</summary>
    public double MaxBytesPerSecond { get; init; } = double.MaxValue;

    /// <summary><c>log.cleaner.backoff.ms</c>: the rest of a thread that found nothing to compact, ms.</summary>
    public long BackoffMs { get; init; } = 15_000;

    /// <summary>Slots of the offset map of one thread.</summary>
    internal long SlotsPerThread =>
        Math.Max(2, DedupeBufferBytes / Math.Max(1, Threads) / Cleaning.OffsetMap.SlotBytes);

    /// <summary>Bytes of one of a thread's two buffers.</summary>
    internal int BufferBytesPerThread => Math.Max(4096, IoBufferBytes / Math.Max(1, Threads) / 2);
}
