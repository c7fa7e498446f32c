using System.Buffers;
using KBroker.Protocol.Records;
using KBroker.Storage.Crashing;
using KBroker.Storage.Producers;
using KBroker.Storage.Segments;

namespace KBroker.Storage.Log;

/// <summary>
/// The writing half of a log: appends, rolls, the clean close. Everything here runs under the log's lock.
/// </summary>
internal sealed class LogWriter(LogState state, PartitionLog owner)
{
    private long _lastSnapshotOffset = -1;
    private bool _appended;

    /// <summary>Appends what the validator let pass.</summary>
    public AppendResult AppendPrepared(
        AppendWork work, int leaderEpoch, in AppendOptions options, LogConfig config, long nowMs)
    {
        state.ThrowIfUnusable();
        if (work.TotalBytes > config.SegmentBytes && options.HasSizeLimit)
        {
            return AppendResult.Refused(
                AppendError.RecordListTooLarge,
                $"Message batch size is {work.TotalBytes} bytes in append to partition {state.Partition}, which "
                    + $"exceeds the maximum configured segment size of {config.SegmentBytes}.",
                state.StartOffset);
        }

        if (options.CommandEnd is { } known && known != state.CommandEnd)
        {
            return AppendResult.Refused(
                AppendError.OperationNotAttempted,
                $"A command was appended to {state.Partition} meanwhile.",
                state.StartOffset);
        }

        var headers = work.Headers;
        var isAppendTime = config.MessageTimestampType == TimestampType.LogAppendTime;
        for (var i = 0; i < headers.Length; i++)
        {
            ref readonly var header = ref headers[i];
            var verdict = Check(header, work.Batches[i], options, out var duplicate, out var problem);
            if (verdict == ProducerVerdict.Duplicate)
                return Duplicate(duplicate);
            if (verdict != ProducerVerdict.Append)
                return Refuse(verdict, problem);
        }

        var first = state.End.Offset;
        var next = first;
        for (var i = 0; i < headers.Length; i++)
        {
            RecordBatchEditor.AssignOffsets(work.Batches[i], next, leaderEpoch);
            headers[i] = headers[i] with { BaseOffset = next, PartitionLeaderEpoch = leaderEpoch };
            next = headers[i].NextOffset;
        }

        Write(work, config, nowMs, options.IsEpochBumped);
        return new AppendResult
        {
            FirstOffset = first,
            LastOffset = next - 1,
            LogAppendTimeMs = isAppendTime ? nowMs : -1,
            LogStartOffset = state.StartOffset,
            RecordsCount = work.RecordsCount,
            SizeInBytes = work.TotalBytes,
        };
    }

    /// <summary>Appends what was fetched from a leader.</summary>
    public AppendResult AppendFetched(AppendWork work)
    {
        state.ThrowIfUnusable();
        var headers = work.Headers;
        var first = state.End.Offset;
        if (headers.IsEmpty)
        {
            return new AppendResult
            {
                FirstOffset = first,
                LastOffset = first - 1,
                LogAppendTimeMs = -1,
                LogStartOffset = state.StartOffset,
            };
        }

        var next = first;
        foreach (ref readonly var header in headers)
        {
            if (header.BaseOffset < next || header.LastOffsetDelta < 0)
            {
                return AppendResult.Refused(
                    AppendError.CorruptMessage,
                    $"A batch with offsets {header.BaseOffset} to {header.LastOffset} follows offset {next - 1} "
                        + $"(partition {state.Partition}).",
                    state.StartOffset);
            }

            next = header.NextOffset;
        }

        Write(work, state.Config, state.Context.NowMs, isEpochBumped: false);
        return new AppendResult
        {
            FirstOffset = headers[0].BaseOffset,
            LastOffset = next - 1,
            LogAppendTimeMs = -1,
            LogStartOffset = state.StartOffset,
            RecordsCount = work.RecordsCount,
            SizeInBytes = work.TotalBytes,
        };
    }

    /// <summary>Writes batches whose offsets are assigned, and moves everything that follows from them.</summary>
    private void Write(AppendWork work, LogConfig config, long nowMs, bool isEpochBumped)
    {
        var headers = work.Headers;
        _appended = true;
        try
        {
            var maxTimestamp = -1L;
            foreach (ref readonly var header in headers)
                maxTimestamp = Math.Max(maxTimestamp, header.MaxTimestamp);
            if (state.Segments.Active.ShouldRoll(config, work.TotalBytes, maxTimestamp, headers[^1].LastOffset, nowMs))
                Roll();
            var segment = state.Segments.Active;
            segment.Append(work.BuildGather(), headers, work.TotalBytes, config.IndexIntervalBytes);
            segment.LastWriteMs = nowMs;
            CrashPoint.Reached("append.indexed");
            for (var i = 0; i < headers.Length; i++)
                Follow(segment, headers[i], work.Batches[i], isEpochBumped);
            // Before the end moves, so that no reader sees a transaction's records and not its start.
            state.PublishFirstUnstableOffset();
            state.End.Set(headers[^1].NextOffset, segment, segment.SizeInBytes);
            CrashPoint.Reached("append.done");
        }
        catch (Exception exception) when (LogState.IsFailure(exception))
        {
            throw state.Directory.Fail($"appending to {state.Path}", exception);
        }

        state.Context.Metrics.Appended(work.TotalBytes, work.RecordsCount);
    }

    private void Follow(
        LogSegment segment, in RecordBatchHeader header, in ReadOnlySequence<byte> bytes, bool isEpochBumped)
    {
        if (header.IsFlagged || header.IsControl)
            FollowFlags(segment, header);
        state.Epochs.Assign(header.PartitionLeaderEpoch, header.BaseOffset);
        if (!header.IsControl)
            state.Producers.Append(header);
        else if (Markers.Follow(state.Producers, header, bytes, state.Context, isEpochBumped) is { } aborted)
            segment.TransactionIndex.Append(aborted);
    }

    private void FollowFlags(LogSegment segment, in RecordBatchHeader header)
    {
        state.FollowedEnd = header.NextOffset;
        var isCommand = (header.Attributes & RecordBatchAttributes.Commanding) != 0;
        state.HasTransactionalCommands |= isCommand && header.IsTransactional;
        if (isCommand || (header.IsControl && state.HasTransactionalCommands))
            state.CommandEnd = header.NextOffset;
        // The name of a new index must be as durable as the batches that it tells of.
        if (header.IsFlagged && segment.FlagIndex.Count == 1)
            state.Flush.NamesChanged();
    }

    private ProducerVerdict Check(
        in RecordBatchHeader header,
        in ReadOnlySequence<byte> batch,
        in AppendOptions options,
        out ProducedBatch duplicate,
        out string? problem)
    {
        if (header.IsControl)
        {
            duplicate = default;
            problem = null;
            return Markers.TryRead(header, batch, state.Context, out _, out var coordinatorEpoch)
                ? state.Producers.CheckMarker(header, coordinatorEpoch, options.IsEpochBumped, out problem)
                : ProducerVerdict.Append;
        }

        var verdict = state.Producers.Check(header, options, out duplicate, out problem);
        return verdict == ProducerVerdict.OutOfOrder && state.Producers.TryComplete(header, state.Segments.All)
            ? state.Producers.Check(header, options, out duplicate, out problem)
            : verdict;
    }

    /// <summary>As Kafka answers it: with the batch's time, whoever set that.</summary>
    private AppendResult Duplicate(in ProducedBatch batch) => new()
    {
        FirstOffset = batch.FirstOffset,
        LastOffset = batch.LastOffset,
        LogAppendTimeMs = batch.Timestamp,
        LogStartOffset = state.StartOffset,
        IsDuplicate = true,
    };

    private AppendResult Refuse(ProducerVerdict verdict, string? problem) => AppendResult.Refused(
        verdict switch
        {
            ProducerVerdict.FencedEpoch => AppendError.InvalidProducerEpoch,
            ProducerVerdict.FencedCoordinator => AppendError.TransactionCoordinatorFenced,
            ProducerVerdict.NotInTransaction => AppendError.InvalidTransactionState,
            _ => AppendError.OutOfOrderSequenceNumber,
        },
        $"{problem} (partition {state.Partition})",
        state.StartOffset);

    /// <summary>Starts a new segment if the active one has records.</summary>
    public void Roll()
    {
        var active = state.Segments.Active;
        var offset = state.End.Offset;
        if (active.SizeInBytes == 0 && active.BaseOffset == offset)
            return;
        active.SealIndexes();
        CrashPoint.Reached("roll.sealed");
        var snapshot = TakeSnapshot(offset);
        CrashPoint.Reached("roll.snapshot-written");
        state.Flush.AddSealed(active, snapshot);
        var jitterMs = state.Context.RollJitterMs(state.Config);
        var segment = LogSegment.Create(state.Context.Files, state.Path, offset, state.Context.NowMs, jitterMs);
        CrashPoint.Reached("roll.created");
        // Once more: a flush that began meanwhile may have missed the new file's name.
        state.Flush.NamesChanged();
        state.Segments.Add(segment);
        state.End.Set(offset, segment, 0);
        state.Context.Metrics.Rolled();
        // Inline flushers run nothing here: the append that rolls must not wait for the disk.
        if (!state.Directory.Flusher.IsInline && state.Flush.TryQueue())
            state.Directory.Flusher.Enqueue(owner);
    }

    private string? TakeSnapshot(long offset)
    {
        if (offset <= _lastSnapshotOffset || offset == 0)
            return null;
        var path = SegmentPaths.Of(state.Path, offset, SegmentPaths.Snapshot);
        ProducerSnapshotFile.Write(state.Context.Files, path, state.Producers.ToSnapshot());
        _lastSnapshotOffset = offset;
        return path;
    }

    /// <summary>Writes indexes and producer state for a clean close; the flush that must follow covers them.</summary>
    /// <returns>Whether there is anything to flush.</returns>
    public bool PrepareClose()
    {
        // A log that nobody wrote to is on the disk as it was opened; so an idle partition costs nothing here.
        if (!_appended && !state.Flush.IsDirty && state.Flush.RecoveryPoint == state.End.Offset)
            return false;
        var active = state.Segments.Active;
        active.SealIndexes();
        state.Flush.AddSealed(active, TakeSnapshot(state.End.Offset));
        return true;
    }

    /// <summary>Puts everything appended so far on stable storage. The log's lock must not be held.</summary>
    public void Flush() => owner.Flush();

    /// <summary>Starts a new segment at an offset behind the end: nothing stands between them.</summary>
    public void SkipTo(long offset)
    {
        state.End.Set(offset, state.Segments.Active, state.Segments.Active.SizeInBytes);
        Roll();
    }

    /// <summary>
    /// Takes over what another log with the same records knows of producers and epochs, also of those whose records
    /// were deleted, and writes it where a recovery finds it: at the end of a finished segment.
    /// </summary>
    public void Adopt(ProducerStates producers, IReadOnlyList<EpochStart> epochs)
    {
        state.Producers.Replace(producers.All);
        state.Producers.TakeVerifications(producers);
        state.Epochs.Replace(epochs);
        state.PublishFirstUnstableOffset();
        ForgetSnapshots();
        var active = state.Segments.Active;
        Roll();
        if (state.Segments.Active == active)
            state.Flush.AddSealed(active, TakeSnapshot(state.End.Offset));
    }

    /// <summary>Lets the next roll write a snapshot, wherever it is.</summary>
    public void ForgetSnapshots() => _lastSnapshotOffset = -1;
}
