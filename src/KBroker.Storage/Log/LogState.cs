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
    private long _announcedStartOffset;
    private long _firstUnstableOffset;
    private long _followedEnd;
    private long _commandEnd;
    private bool _closed;
    private bool _moved;
    private bool _beingMoved;
    private CleaningGate.Pause _movePause;
    private volatile TaskCompletionSource? _seal;
    private volatile ILogStartGuard? _startGuard;

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
        _announcedStartOffset = _startOffset;
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

    /// <summary>Where readers begin; on stable storage before it is this.</summary>
    public long StartOffset
    {
        get => Volatile.Read(ref _startOffset);
        set => Volatile.Write(ref _startOffset, value);
    }

    /// <summary>Where the checkpoints let the log start: <see cref="StartOffset"/>, or a little ahead of it.</summary>
    public long AnnouncedStartOffset
    {
        get => Volatile.Read(ref _announcedStartOffset);
        set => Volatile.Write(ref _announcedStartOffset, value);
    }

    /// <summary>The offset behind the last flagged batch or transaction marker appended since the log was opened.
    /// </summary>
    public long FollowedEnd
    {
        get => Volatile.Read(ref _followedEnd);
        set => Volatile.Write(ref _followedEnd, value);
    }

    /// <summary>The offset behind the last batch appended since the log was opened by which a command may have taken
    /// effect. See <see cref="AppendOptions.CommandEnd"/>.</summary>
    public long CommandEnd
    {
        get => Volatile.Read(ref _commandEnd);
        set => Volatile.Write(ref _commandEnd, value);
    }

    /// <summary>See <see cref="PartitionLog.StartGuard"/>.</summary>
    public ILogStartGuard? StartGuard
    {
        get => _startGuard;
        set => _startGuard = value;
    }

    /// <summary>Whether commands came in transactions, so that a marker may let them take effect.</summary>
    public bool HasTransactionalCommands { get; set; }

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

    /// <summary>See <see cref="PartitionLog.IsBeingMoved"/>; set by one thread at a time.</summary>
    public bool IsBeingMoved
    {
        get => Volatile.Read(ref _beingMoved);
        set
        {
            if (_beingMoved == value)
                return;
            if (value)
                _movePause = Cleaning.PauseAndWait();
            else
                _movePause.Dispose();
            Volatile.Write(ref _beingMoved, value);
        }
    }

    /// <summary>Another directory has the log now: who still holds this object takes the new one.</summary>
    public bool IsMoved
    {
        get => Volatile.Read(ref _moved);
        set => Volatile.Write(ref _moved, value);
    }

    /// <summary>Takes the lock for a change of records or offsets, once no move is being finished.</summary>
    public Lock.Scope EnterForChange()
    {
        while (true)
        {
            _seal?.Task.Wait();
            var scope = Lock.EnterScope();
            if (_seal is null)
                return scope;
            scope.Dispose();
        }
    }

    /// <summary>Lets changes wait until <see cref="Unseal"/>; those under way end first.</summary>
    public void Seal()
    {
        lock (Lock)
        {
            ThrowIfUnusable();
            _seal ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }
    }

    /// <summary>Lets them go on.</summary>
    public void Unseal()
    {
        var seal = _seal;
        _seal = null;
        seal?.TrySetResult();
    }

    /// <summary>Whether an exception means that the disk failed.</summary>
    public static bool IsFailure(Exception exception) =>
        exception is (IOException or UnauthorizedAccessException) and not (StorageException or LogMovedException);

    /// <summary>Lets readers see what the producer state says now.</summary>
    public void PublishFirstUnstableOffset() =>
        Volatile.Write(ref _firstUnstableOffset, Producers.FirstOpenTransactionOffset ?? -1);

    public void ThrowIfUnusable()
    {
        if (IsMoved)
            throw new LogMovedException($"The log of {Partition} lies in another directory now.");
        Directory.ThrowIfOffline();
        if (IsClosed)
            throw new StorageException($"The log of {Partition} is closed.");
    }
}
