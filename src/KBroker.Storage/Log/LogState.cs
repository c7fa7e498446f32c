using KBroker.Storage.Cleaning;
using KBroker.Storage.Producers;
using KBroker.Storage.Segments;

namespace KBroker.Storage.Log;

/// <summary>
/// What the parts of one log share. <see cref="Lock"/> guards all changes but the flush, which has its own.
/// </summary>
internal sealed class LogState
{
    private LogConfig _config;
    private string _path;
    private long _startOffset;
    private long _firstUnstableOffset;
    private bool _closed;

    public LogState(PartitionLogParts parts)
    {
        Context = parts.Context;
        Directory = parts.Directory;
        Partition = parts.Partition;
        Epochs = parts.Epochs;
        Producers = parts.Producers;
        DeleteLater = parts.DeleteLater;
        Segments = new SegmentList(parts.Loaded.Segments);
        Flush = new LogFlush(Context, Directory, Epochs);
        Reader = new LogReader(Partition, Segments, End);
        _config = parts.Config;
        _path = parts.Path;
        _startOffset = parts.Loaded.StartOffset;
        End.Reset(parts.Loaded.EndOffset, Segments.Active, Segments.Active.SizeInBytes);
        Flush.Reset(parts.Loaded.RecoveryPoint);
        foreach (var segment in parts.Loaded.Unflushed)
        {
            if (segment != Segments.Active)
                Flush.AddSealed(segment, SegmentPaths.Of(_path, segment.BaseOffset, SegmentPaths.Snapshot));
        }

        PublishFirstUnstableOffset();
        if (parts.IsNew)
            Flush.NamesChanged(parentToo: true);
    }

    public Lock Lock { get; } = new();

    public LogContext Context { get; }

    public LogDirectory Directory { get; }

    public TopicPartition Partition { get; }

    public SegmentList Segments { get; }

    public LogEnd End { get; } = new();

    public LogFlush Flush { get; }

    public LogReader Reader { get; }

    public EpochCache Epochs { get; }

    public ProducerStates Producers { get; }

    /// <summary>Keeps cleanings apart from what takes files away.</summary>
    public CleaningGate Cleaning { get; } = new();

    /// <summary>Deletes renamed segments after <c>file.delete.delay.ms</c>.</summary>
    public Action<IReadOnlyList<LogSegment>, long> DeleteLater { get; }

    public LogConfig Config
    {
        get => Volatile.Read(ref _config);
        set => Volatile.Write(ref _config, value);
    }

    public string Path
    {
        get => Volatile.Read(ref _path);
        set => Volatile.Write(ref _path, value);
    }

    public long StartOffset
    {
        get => Volatile.Read(ref _startOffset);
        set => Volatile.Write(ref _startOffset, value);
    }

    /// <summary>First offset of the oldest open transaction; null without one. Readers need no lock for it.</summary>
    public long? FirstUnstableOffset
    {
        get
        {
            var offset = Volatile.Read(ref _firstUnstableOffset);
            return offset < 0 ? null : offset;
        }
    }

    public bool IsClosed
    {
        get => Volatile.Read(ref _closed);
        set => Volatile.Write(ref _closed, value);
    }

    /// <summary>Whether an exception means that the disk failed.</summary>
    public static bool IsFailure(Exception exception) =>
        exception is (IOException or UnauthorizedAccessException) and not StorageException;

    /// <summary>Lets readers see what the producer state says now.</summary>
    public void PublishFirstUnstableOffset() =>
        Volatile.Write(ref _firstUnstableOffset, Producers.FirstOpenTransactionOffset ?? -1);

    public void ThrowIfUnusable()
    {
        Directory.ThrowIfOffline();
        if (IsClosed)
            throw new StorageException($"The log of {Partition} is closed.");
    }
}
