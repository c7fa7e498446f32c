using System.Runtime.CompilerServices;
using KBroker.Protocol.Records;
using KBroker.Storage.Crashing;
using KBroker.Storage.Files;
using KBroker.Storage.Indexes;

namespace KBroker.Storage.Segments;

/// <summary>
/// One log file with its indexes: the batches from a base offset up to the next segment's.
/// </summary>
/// <remarks>
/// <para>
/// <c>&lt;base&gt;.log</c> holds record batches exactly as on the wire, one behind the other, nothing between them. One
/// writer appends, under the lock of its log; readers go by <see cref="SizeInBytes"/>, which moves only when
/// the bytes are in the file. After a crash the file may end within a batch, in zeros or in rubbish: whoever opens it
/// cuts it at the last batch that is whole and whose CRC holds (<see cref="SegmentRecovery"/>).
/// </para>
/// <para>
/// Example: base offset 100; batches of 10 records and 3 KB each. The first lies at 0, the second at 3072; the third
/// finds 6144 bytes since the last entry, more than the interval of 4096, and so gets an entry (129 - 100, 6144).
/// A lookup of offset 135 finds that entry, reads the headers of the batches from 6144 on, and stops at the batch
/// that ends with 139, at 9216.
/// </para>
/// </remarks>
internal sealed class LogSegment : IDisposable
{
    private readonly Lock _maxTimestampLock = new();
    private int _sizeInBytes;
    private int _bytesSinceIndexEntry;
    private bool _maxTimestampKnown;
    private TimeIndexEntry _maxTimestamp;
    private long _firstTimestamp = long.MinValue;
    private long _lastWriteMs;
    private int _closed;

    private LogSegment(IFileSystem files, string directory, long baseOffset, long createdMs, string suffix)
    {
        BaseOffset = baseOffset;
        CreatedMs = createdMs;
        _lastWriteMs = createdMs;
        File = new SegmentFile(files, PathOf(SegmentPaths.Log));
        OffsetIndex = new OffsetIndex(files, PathOf(SegmentPaths.OffsetIndex), baseOffset);
        TimeIndex = new TimeIndex(files, PathOf(SegmentPaths.TimeIndex), baseOffset);
        TransactionIndex = new TransactionIndex(files, PathOf(SegmentPaths.TransactionIndex));
        FlagIndex = new FlagIndex(files, PathOf(SegmentPaths.FlagIndex), baseOffset);

        string PathOf(string kind) => SegmentPaths.Of(directory, baseOffset, kind + suffix);
    }

    /// <summary>Offset that names the files; no record of the segment lies before it.</summary>
    public long BaseOffset { get; }

    /// <summary>When the segment was created, or its file last written when it was opened.</summary>
    public long CreatedMs { get; }

    /// <summary>When the log file was last written: the age of records that have no timestamp.</summary>
    public long LastWriteMs
    {
        get => Volatile.Read(ref _lastWriteMs);
        set => Volatile.Write(ref _lastWriteMs, value);
    }

    public SegmentFile File { get; }

    public OffsetIndex OffsetIndex { get; }

    public TimeIndex TimeIndex { get; }

    public TransactionIndex TransactionIndex { get; }

    public FlagIndex FlagIndex { get; }

    /// <summary>Random part of the time until the next roll, ms.</summary>
    public long RollJitterMs { get; init; }

    /// <summary>Bytes of whole batches in the log file.</summary>
    public int SizeInBytes => Volatile.Read(ref _sizeInBytes);

    /// <summary>Whether the segment was closed or deleted.</summary>
    public bool IsClosed => Volatile.Read(ref _closed) != 0;

    /// <summary>
    /// The largest timestamp, and the last offset of the batch that brought it; -1 when there is none.
    /// </summary>
    public TimeIndexEntry MaxTimestamp
    {
        get
        {
            lock (_maxTimestampLock)
            {
                if (!_maxTimestampKnown)
                    _maxTimestamp = FindMaxTimestamp();
                _maxTimestampKnown = true;
                return _maxTimestamp;
            }
        }
    }

    /// <summary>Creates an empty segment; the suffix is that of files which are not in their place yet.</summary>
    public static LogSegment Create(
        IFileSystem files, string directory, long baseOffset, long nowMs, long rollJitterMs, string suffix = "")
    {
        var segment = new LogSegment(files, directory, baseOffset, nowMs, suffix)
        {
            RollJitterMs = rollJitterMs,
            _maxTimestampKnown = true,
            _maxTimestamp = new TimeIndexEntry(-1, baseOffset),
        };
        segment.File.Create();
        segment.FlagIndex.SetAbsent();
        segment.OffsetIndex.CreateFile();
        return segment;
    }

    /// <summary>Takes an existing segment as it is; opens no file.</summary>
    public static LogSegment Open(IFileSystem files, string directory, long baseOffset, in FileEntry log,
        long jitterMs) =>
        new(files, directory, baseOffset, log.LastWriteTimeMs, "")
        {
            RollJitterMs = jitterMs,
            _sizeInBytes = checked((int)Math.Min(log.Length, int.MaxValue)),
        };

    /// <summary>Appends whole batches with offsets assigned. The caller holds the log's lock.</summary>
    /// <param name="bytes">The batches' bytes.</param>
    /// <param name="headers">Their headers, in order.</param>
    /// <param name="totalBytes">Bytes of all buffers.</param>
    /// <param name="indexIntervalBytes">Distance of index entries.</param>
    public void Append(
        IReadOnlyList<ReadOnlyMemory<byte>> bytes,
        ReadOnlySpan<RecordBatchHeader> headers,
        int totalBytes,
        int indexIntervalBytes)
    {
        var position = _sizeInBytes;
        if (bytes.Count == 1)
            File.File.Write(bytes[0].Span, position);
        else
            File.File.Write(bytes, position);
        CrashPoint.Reached("append.written");
        foreach (ref readonly var header in headers)
        {
            IndexBatch(header, position, indexIntervalBytes);
            position += header.SizeInBytes;
        }

        Volatile.Write(ref _sizeInBytes, _sizeInBytes + totalBytes);
    }

    /// <summary>Notes a batch in the indexes, as an append or the scan of a recovery does.</summary>
    public void IndexBatch(in RecordBatchHeader header, int position, int indexIntervalBytes)
    {
        if (header.IsFlagged)
            FlagIndex.Append(header, position);
        lock (_maxTimestampLock)
        {
            if (!_maxTimestampKnown)
                _maxTimestamp = FindMaxTimestamp();
            _maxTimestampKnown = true;
            if (HasLaterRecord(header, _maxTimestamp))
                _maxTimestamp = new TimeIndexEntry(header.MaxTimestamp, header.LastOffset);
        }

        if (position == 0)
            Volatile.Write(ref _firstTimestamp, header.MaxTimestamp);
        if (_bytesSinceIndexEntry > indexIntervalBytes)
        {
            OffsetIndex.Append(header.LastOffset, position);
            TimeIndex.MaybeAppend(MaxTimestamp);
            _bytesSinceIndexEntry = 0;
        }

        _bytesSinceIndexEntry += header.SizeInBytes;
    }

    /// <summary>Whether an append must go to a new segment.</summary>
    public bool ShouldRoll(LogConfig config, int appendBytes, long appendMaxTimestamp, long appendLastOffset,
        long nowMs)
    {
        var size = SizeInBytes;
        if (size > config.SegmentBytes - (long)appendBytes && size > 0)
            return true;
        if (size > 0 && MsWaitedForRoll(nowMs, appendMaxTimestamp) > config.MaxSegmentMs - RollJitterMs)
            return true;
        return IsIndexFull(config) || appendLastOffset - BaseOffset > int.MaxValue;
    }

    /// <summary>Finds the first batch that ends at or behind an offset.</summary>
    /// <param name="offset">The offset looked for.</param>
    /// <param name="end">Where the readable part ends, in bytes.</param>
    /// <param name="position">Where the batch starts.</param>
    /// <param name="header">Its header.</param>
    /// <returns>False when no batch of the segment reaches the offset.</returns>
    /// <remarks>
    /// An index has no checksum. One that leads to where no batch starts, or too far, is found out by the first header,
    /// and the lookup starts over at the beginning of the file.
    /// </remarks>
    [SkipLocalsInit]
    public bool TryFindBatch(long offset, int end, out int position, out RecordBatchHeader header)
    {
        Span<byte> buffer = stackalloc byte[BatchScanner.LookupBufferBytes];
        var entry = OffsetIndex.Lookup(offset);
        var scanner = new BatchScanner(File.File, entry.Position < end ? entry.Position : 0, end, buffer);
        var isFirst = entry.Position > 0;
        while (scanner.MoveNext())
        {
            if (isFirst && scanner.Position == entry.Position && scanner.Header.LastOffset > entry.Offset)
                break;
            isFirst = false;
            if (scanner.Header.LastOffset < offset)
                continue;
            position = scanner.Position;
            header = scanner.Header;
            return true;
        }

        if (isFirst && end > 0)
            return TryFindBatchWithoutIndex(offset, end, out position, out header);
        if (scanner.Problem is not null)
            throw new CorruptRecordException($"{File.Path} is damaged at {scanner.NextPosition}: {scanner.Problem}.");
        position = end;
        header = default;
        return false;
    }

    /// <summary>The header of the last batch, which tells where the log ends.</summary>
    /// <returns>Null when the segment is empty.</returns>
    [SkipLocalsInit]
    public RecordBatchHeader? ReadLastHeader()
    {
        Span<byte> buffer = stackalloc byte[BatchScanner.LookupBufferBytes];
        RecordBatchHeader? last = null;
        var scanner = new BatchScanner(File.File, OffsetIndex.Last.Position, SizeInBytes, buffer);
        while (scanner.MoveNext())
        {
            if (scanner.Header.BaseOffset < (last?.NextOffset ?? BaseOffset))
            {
                throw new CorruptLogException(File.Path, scanner.Position,
                    $"offset {scanner.Header.BaseOffset} follows offset {(last?.NextOffset ?? BaseOffset) - 1}");
            }

            last = scanner.Header;
        }

        return scanner.Problem is null
            ? last
            : throw new CorruptLogException(File.Path, scanner.NextPosition, scanner.Problem);
    }

    /// <summary>Finishes the indexes: the last time index entry, and all entries in their files.</summary>
    public void SealIndexes()
    {
        TimeIndex.MaybeAppend(MaxTimestamp);
        OffsetIndex.WriteOut();
        TimeIndex.WriteOut();
    }

    /// <summary>Puts the log file, and for a finished segment the indexes, on stable storage.</summary>
    public void Flush(bool withIndexes)
    {
        if (SizeInBytes > 0)
            File.File.Flush();
        if (!withIndexes)
            return;
        OffsetIndex.Flush();
        TimeIndex.Flush();
        TransactionIndex.Flush();
        FlagIndex.Flush();
    }

    /// <summary>Makes the index of flagged batches anew from the log file. Nobody appends meanwhile.</summary>
    /// <param name="end">Where to stop, in bytes.</param>
    [SkipLocalsInit]
    public void RebuildFlagIndex(int end)
    {
        Span<byte> buffer = stackalloc byte[BatchScanner.LookupBufferBytes];
        FlagIndex.Reset();
        var scanner = new BatchScanner(File.File, 0, end, buffer);
        while (scanner.MoveNext())
        {
            if (scanner.Header.IsFlagged)
                FlagIndex.Append(scanner.Header, scanner.Position);
        }
    }

    /// <summary>Cuts the log file and the indexes. The caller holds the log's lock.</summary>
    /// <param name="position">Where to cut; a batch starts there.</param>
    /// <param name="offset">The first offset that is gone.</param>
    public void TruncateTo(int position, long offset)
    {
        OffsetIndex.TruncateTo(offset);
        TimeIndex.TruncateTo(offset);
        TransactionIndex.TruncateTo(offset);
        FlagIndex.TruncateTo(position);
        File.File.SetLength(position);
        Volatile.Write(ref _sizeInBytes, position);
        _bytesSinceIndexEntry = 0;
        lock (_maxTimestampLock)
            _maxTimestampKnown = false;
        if (position == 0)
            Volatile.Write(ref _firstTimestamp, long.MinValue);
    }

    /// <summary>Sets the size that a recovery found, without touching the file.</summary>
    public void SetRecovered(int sizeInBytes, int bytesSinceIndexEntry)
    {
        Volatile.Write(ref _sizeInBytes, sizeInBytes);
        _bytesSinceIndexEntry = bytesSinceIndexEntry;
    }

    /// <summary>Sets the size while a recovery scans.</summary>
    public void SetRecoveredSize(int sizeInBytes) => Volatile.Write(ref _sizeInBytes, sizeInBytes);

    /// <summary>Lets the largest timestamp be found anew.</summary>
    public void ForgetMaxTimestamp()
    {
        lock (_maxTimestampLock)
            _maxTimestampKnown = false;
    }

    /// <summary>Whether a batch that ends with an offset starts at a position.</summary>
    [SkipLocalsInit]
    public bool IsBatchAt(int position, int end, long lastOffset, out RecordBatchHeader header)
    {
        Span<byte> buffer = stackalloc byte[RecordBatchLayout.HeaderSize];
        var scanner = new BatchScanner(File.File, position, end, buffer);
        var found = position >= 0 && scanner.MoveNext() && scanner.Header.LastOffset == lastOffset;
        header = scanner.Header;
        return found;
    }

    /// <summary>Adds a suffix to the names of all files.</summary>
    public void RenameWithSuffix(string suffix)
    {
        File.Rename(File.Path + suffix);
        CrashPoint.Reached("segment.log-renamed");
        OffsetIndex.Rename(OffsetIndex.Path + suffix);
        TimeIndex.Rename(TimeIndex.Path + suffix);
        CrashPoint.Reached("segment.indexes-renamed");
        TransactionIndex.Rename(TransactionIndex.Path + suffix);
        FlagIndex.Rename(FlagIndex.Path + suffix);
    }

    /// <summary>Takes the suffix off the names of all files, and puts another in its place.</summary>
    public void ChangeSuffix(string from, string to)
    {
        File.Rename(Changed(File.Path));
        CrashPoint.Reached("segment.log-moved");
        OffsetIndex.Rename(Changed(OffsetIndex.Path));
        TimeIndex.Rename(Changed(TimeIndex.Path));
        CrashPoint.Reached("segment.indexes-moved");
        TransactionIndex.Rename(Changed(TransactionIndex.Path));
        FlagIndex.Rename(Changed(FlagIndex.Path));

        string Changed(string path) => path.EndsWith(from, StringComparison.Ordinal)
            ? path[..^from.Length] + to
            : throw new InvalidOperationException($"{path} does not end with {from}.");
    }

    /// <summary>Deletes all files, whatever they are called now.</summary>
    public void DeleteFiles(IFileSystem files)
    {
        files.DeleteFile(File.Path);
        files.DeleteFile(OffsetIndex.Path);
        files.DeleteFile(TimeIndex.Path);
        files.DeleteFile(TransactionIndex.Path);
        files.DeleteFile(FlagIndex.Path);
    }

    /// <summary>Closes the files that nobody uses; the next use opens them again.</summary>
    public void CloseFiles()
    {
        File.File.CloseIfUnused();
        OffsetIndex.CloseFile();
        TimeIndex.CloseFile();
        TransactionIndex.CloseFile();
        FlagIndex.CloseFile();
    }

    /// <summary>Keeps files from being opened until <see cref="EndMove"/>: the directory is being renamed.</summary>
    public void BeginMove()
    {
        OffsetIndex.BeginMove();
        TimeIndex.BeginMove();
        TransactionIndex.BeginMove();
        FlagIndex.BeginMove();
        File.File.BeginMove();
    }

    /// <summary>Ends what <see cref="BeginMove"/> began.</summary>
    /// <param name="directory">Where the files are now.</param>
    public void EndMove(string directory)
    {
        File.File.EndMove(Moved(File.Path));
        FlagIndex.EndMove(Moved(FlagIndex.Path));
        TransactionIndex.EndMove(Moved(TransactionIndex.Path));
        TimeIndex.EndMove(Moved(TimeIndex.Path));
        OffsetIndex.EndMove(Moved(OffsetIndex.Path));

        string Moved(string path) => Path.Combine(directory, Path.GetFileName(path));
    }

    public void Dispose()
    {
        if (Interlocked.Exchange(ref _closed, 1) != 0)
            return;
        OffsetIndex.Dispose();
        TimeIndex.Dispose();
        TransactionIndex.Dispose();
        FlagIndex.Dispose();
        File.Retire();
    }

    private bool IsIndexFull(LogConfig config) =>
        OffsetIndex.Count >= config.SegmentIndexBytes / OffsetIndex.EntrySize
        || TimeIndex.Count >= (config.SegmentIndexBytes / TimeIndex.EntrySize) - 1;

    /// <summary>The age that decides on a roll: in record time where records have one, else by the clock.</summary>
    private long MsWaitedForRoll(long nowMs, long appendMaxTimestamp)
    {
        var first = FirstTimestamp();
        return first >= 0 ? appendMaxTimestamp - first : nowMs - CreatedMs;
    }

    /// <summary>The largest timestamp of the first batch; -1 when there is none.</summary>
    [SkipLocalsInit]
    public long FirstTimestamp()
    {
        var known = Volatile.Read(ref _firstTimestamp);
        if (known != long.MinValue)
            return known;
        Span<byte> buffer = stackalloc byte[RecordBatchLayout.HeaderSize];
        var scanner = new BatchScanner(File.File, 0, SizeInBytes, buffer);
        if (!scanner.MoveNext())
            return -1;
        Volatile.Write(ref _firstTimestamp, scanner.Header.MaxTimestamp);
        return scanner.Header.MaxTimestamp;
    }

    /// <summary>A batch that compaction emptied keeps its timestamp, but there is no record to be found.</summary>
    private static bool HasLaterRecord(in RecordBatchHeader header, TimeIndexEntry than) =>
        header.MaxTimestamp > than.Timestamp && header.RecordsCount > 0;

    [SkipLocalsInit]
    private bool TryFindBatchWithoutIndex(long offset, int end, out int position, out RecordBatchHeader header)
    {
        Span<byte> buffer = stackalloc byte[BatchScanner.LookupBufferBytes];
        var scanner = new BatchScanner(File.File, 0, end, buffer);
        while (scanner.MoveNext())
        {
            if (scanner.Header.LastOffset < offset)
                continue;
            position = scanner.Position;
            header = scanner.Header;
            return true;
        }

        if (scanner.Problem is not null)
            throw new CorruptRecordException($"{File.Path} is damaged at {scanner.NextPosition}: {scanner.Problem}.");
        position = end;
        header = default;
        return false;
    }

    /// <summary>
    /// From the last entry of the time index on. Retention deletes by what this finds, so the entry must agree with the
    /// batch that it names; else all headers are looked at.
    /// </summary>
    private TimeIndexEntry FindMaxTimestamp()
    {
        var last = TimeIndex.Last;
        return FindMaxTimestamp(OffsetIndex.Lookup(last.Offset).Position, last)
            ?? FindMaxTimestamp(0, new TimeIndexEntry(-1, BaseOffset))!.Value;
    }

    [SkipLocalsInit]
    private TimeIndexEntry? FindMaxTimestamp(int from, TimeIndexEntry known)
    {
        Span<byte> buffer = stackalloc byte[BatchScanner.LookupBufferBytes];
        var max = known;
        var isConfirmed = known.Timestamp < 0 && from == 0;
        var scanner = new BatchScanner(File.File, from, SizeInBytes, buffer);
        while (scanner.MoveNext())
        {
            isConfirmed |= scanner.Header.LastOffset >= known.Offset && scanner.Header.BaseOffset <= known.Offset
                && scanner.Header.MaxTimestamp == known.Timestamp;
            if (HasLaterRecord(scanner.Header, max))
                max = new TimeIndexEntry(scanner.Header.MaxTimestamp, scanner.Header.LastOffset);
        }

        return isConfirmed ? max : null;
    }
}
