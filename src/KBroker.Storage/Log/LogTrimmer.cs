using KBroker.Storage.Crashing;
using KBroker.Storage.Producers;
using KBroker.Storage.Segments;

namespace KBroker.Storage.Log;

/// <summary>
/// Takes records away from a log: at its start (retention, DeleteRecords), or at its end (truncation).
/// </summary>
internal sealed class LogTrimmer(LogState state, LogWriter writer)
{
    /// <summary>See <see cref="PartitionLog.DeleteRecordsBefore"/>.</summary>
    public void DeleteRecordsBefore(long offset)
    {
        using (state.EnterForChange())
        {
            state.ThrowIfUnusable();
            if (offset > state.End.Offset)
            {
                throw new OffsetOutOfRangeException(
                    $"Offset {offset} is behind the end {state.End.Offset} of {state.Partition}.");
            }

            if (offset <= state.StartOffset)
                return;
        }

        if (!MayStartAt(offset))
        {
            throw new TimeoutException(
                $"Delayed records of {state.Partition} below offset {offset} could not be carried forward in time.");
        }

        // A start is never ahead of what is on stable storage, so that a log that ends before it is known as damaged.
        if (offset > state.Flush.RecoveryPoint)
            writer.Flush();
        using (state.EnterForChange())
        {
            state.ThrowIfUnusable();
            if (offset <= state.StartOffset)
                return;
            AnnounceStart(offset);
        }

        CrashPoint.Reached("delete-records.announced");
        PersistStart();
        CrashPoint.Reached("delete-records.checkpointed");
        MoveStart();
        // While the log is being compacted its segments stay; the cleaner removes them when it is done.
        if (!state.Cleaning.TryPause(out var pause))
            return;
        using var paused = pause;
        var removed = RemoveSegmentsBeforeStart();
        CrashPoint.Reached("delete-records.removed");
        state.DeleteLater(removed, state.Config.FileDeleteDelayMs);
    }

    /// <summary>See <see cref="PartitionLog.DeleteOldSegments"/>.</summary>
    public int DeleteOldSegments(long highWatermark)
    {
        if (!state.Cleaning.TryPause(out var pause))
            return 0;
        using var paused = pause;
        long newStart;
        using (state.EnterForChange())
        {
            if (state.IsClosed || state.IsMoved || state.Directory.IsOffline)
                return 0;
            var all = state.Segments.All;
            var count = Retention.CountDeletable(
                all, state.Config, state.StartOffset, state.End.Offset, highWatermark, state.Context.NowMs);
            if (count == 0)
                return 0;
            if (count == all.Length)
                RollActive();
            CrashPoint.Reached("retention.decided");
            newStart = state.Segments.All[count].BaseOffset;
        }

        if (!MayStartAt(newStart))
            return 0;
        if (newStart > state.Flush.RecoveryPoint || state.Flush.IsDirty)
            writer.Flush();
        using (state.EnterForChange())
        {
            if (state.IsClosed || state.IsMoved)
                return 0;
            AnnounceStart(newStart);
        }

        CrashPoint.Reached("retention.announced");
        PersistStart();
        CrashPoint.Reached("retention.checkpointed");
        MoveStart();
        var removed = RemoveSegmentsBeforeStart();
        CrashPoint.Reached("retention.removed");
        state.DeleteLater(removed, state.Config.FileDeleteDelayMs);
        return removed.Length;
    }

    /// <summary>Whether nothing below an offset is needed any more.</summary>
    private bool MayStartAt(long offset)
    {
        foreach (var segment in state.Segments.All)
        {
            if (segment.BaseOffset >= offset)
                break;
            if (!segment.FlagIndex.IsEmpty)
                return state.StartGuard?.TryRelease(offset) ?? false;
        }

        return true;
    }

    /// <summary>Rolls; the caller holds the lock.</summary>
    public void RollActive()
    {
        try
        {
            writer.Roll();
        }
        catch (Exception exception) when (LogState.IsFailure(exception))
        {
            throw state.Directory.Fail($"rolling {state.Path}", exception);
        }
    }

    /// <summary>The directory's checkpoint has no checksum, so the epochs of the log tell the start, too.</summary>
    private void PersistStart()
    {
        state.Directory.CheckpointLogStartOffsets();
        try
        {
            state.Epochs.Flush();
        }
        catch (Exception exception) when (LogState.IsFailure(exception))
        {
            throw state.Directory.Fail($"writing the epochs of {state.Path}", exception);
        }
    }

    /// <summary>
    /// Lets the checkpoints tell a new start, before any reader is told: a start that was seen never moves back, and a
    /// file goes only when nobody can be led to it any more.
    /// </summary>
    private void AnnounceStart(long offset)
    {
        state.AnnouncedStartOffset = Math.Max(state.AnnouncedStartOffset, offset);
        state.Epochs.TruncateFromStart(state.AnnouncedStartOffset);
    }

    /// <summary>Readers begin at the announced start from now on; a truncation may have taken it back.</summary>
    private void MoveStart()
    {
        lock (state.Lock)
            state.StartOffset = Math.Max(state.StartOffset, state.AnnouncedStartOffset);
    }

    /// <summary>Takes the segments that end at or before the log's start out of the list.</summary>
    private LogSegment[] RemoveSegmentsBeforeStart()
    {
        lock (state.Lock)
            return TakeSegmentsBeforeStart();
    }

    private LogSegment[] TakeSegmentsBeforeStart()
    {
        // Deleted or moved meanwhile: the files are no longer ours.
        if (state.IsClosed || state.IsMoved)
            return [];
        var all = state.Segments.All;
        var count = 0;
        while (count < all.Length - 1 && all[count + 1].BaseOffset <= state.StartOffset)
            count++;
        if (count == 0)
            return [];
        var removed = all[..count];
        try
        {
            foreach (var segment in removed)
            {
                segment.RenameWithSuffix(SegmentPaths.Deleted);
                CrashPoint.Reached("retention.segment-renamed");
                state.Context.Files.DeleteFile(SegmentPaths.Of(state.Path, segment.BaseOffset, SegmentPaths.Snapshot));
            }

            // Before the list tells it: a start that the first segment's name seems to tell is not checkpointed any
            // more, and must not come back with a name that a power cut brings back.
            state.Context.Files.FlushDirectory(state.Path);
        }
        catch (Exception exception) when (LogState.IsFailure(exception))
        {
            throw state.Directory.Fail($"deleting segments of {state.Path}", exception);
        }

        state.Segments.Replace(all[count..]);
        return removed;
    }

    /// <summary>Cuts the end. The caller holds the lock.</summary>
    public void TruncateTo(long offset)
    {
        var place = state.Reader.Translate(offset);
        var newEnd = offset;
        if (place.Segment.TryFindBatch(offset, place.Segment.SizeInBytes, out var position, out var header))
            newEnd = Math.Min(offset, header.BaseOffset);
        state.Directory.CleanerCheckpoint.Truncate(state.Partition, newEnd);
        // A recovery point behind the end would look like damage after a crash.
        state.Flush.Reset(Math.Min(state.Flush.RecoveryPoint, newEnd));
        state.Directory.CheckpointRecoveryPoints();
        if (newEnd < state.AnnouncedStartOffset)
        {
            // The batch that goes holds the start; the leader says again where the log starts.
            state.AnnouncedStartOffset = newEnd;
            state.StartOffset = Math.Min(state.StartOffset, newEnd);
            state.Directory.CheckpointLogStartOffsets();
        }

        var all = state.Segments.All;
        var keep = Math.Max(0, Array.IndexOf(all, place.Segment));
        state.Segments.Replace(all[..(keep + 1)]);
        foreach (var segment in all[(keep + 1)..])
            DeleteNow(segment);
        place.Segment.TruncateTo(position, newEnd);
        // What was cut off must not come back after a power cut, behind or instead of what is appended next.
        place.Segment.File.File.Flush();
        state.Context.Files.FlushDirectory(state.Path);
        state.Epochs.TruncateFromEnd(newEnd);
        state.End.Reset(newEnd, place.Segment, position);
        new ProducerReplay(state.Context, state.Path, state.Producers).Run(state.Segments.All, newEnd, newEnd);
        state.PublishFirstUnstableOffset();
        writer.ForgetSnapshots();
        state.Flush.NamesChanged();
    }

    private void DeleteNow(LogSegment segment)
    {
        segment.Dispose();
        state.Context.Files.DeleteFile(segment.File.Path);
        state.Context.Files.DeleteFile(segment.OffsetIndex.Path);
        state.Context.Files.DeleteFile(segment.TimeIndex.Path);
        state.Context.Files.DeleteFile(segment.TransactionIndex.Path);
        state.Context.Files.DeleteFile(segment.FlagIndex.Path);
        state.Context.Files.DeleteFile(SegmentPaths.Of(state.Path, segment.BaseOffset, SegmentPaths.Snapshot));
    }
}
