using System.Buffers;
using KBroker.Storage.Crashing;

namespace KBroker.Storage.Moves;

/// <summary>
/// One log on its way to another log directory: the log as it is served, and its copy. Steps are taken one at a time,
/// by one thread; appends, retention, deletion of records and truncation of the source go on between them.
/// </summary>
/// <remarks>
/// The copy is made of record batches, as a follower copies its leader: offsets and leader epochs stay, segments,
/// indexes and checkpoints are its own. Each step first makes the copy a prefix of the source again
/// (<see cref="Align"/>), and then appends to it. Example: the source has offsets 0 to 999, the copy 0 to 499.
/// Retention deletes up to 700: the copy is emptied, and begins anew at 700. The source is cut to 800 and gets other
/// records in a new leader epoch: the copy, which had 900, is cut to 800 where the epochs part.
/// </remarks>
public sealed class LogMove
{
    private const int ChunkBytes = 1 << 20;
    private readonly LogMoves _moves;

    internal LogMove(LogMoves moves, PartitionLog source, PartitionLog future)
    {
        _moves = moves;
        Source = source;
        Future = future;
    }

    /// <summary>The log that is served, until <see cref="LogMoves.Switch"/>.</summary>
    public PartitionLog Source { get; }

    /// <summary>The copy.</summary>
    public PartitionLog Future { get; private set; }

    /// <summary>Where it goes.</summary>
    public LogDirectory Target => Future.Directory;

    /// <summary>How many offsets the copy lacks.</summary>
    public long Lag => Math.Max(0, Source.LogEndOffset - Future.LogEndOffset);

    /// <summary>Copies records.</summary>
    /// <param name="maxBytes">About how many bytes; at least one batch.</param>
    /// <returns>How many it were; 0 when the copy has everything.</returns>
    /// <exception cref="StorageException">One of the directories is offline, or one of the logs was
    /// deleted.</exception>
    /// <exception cref="InvalidDataException">The source has a batch that is damaged.</exception>
    public int CopySome(int maxBytes)
    {
        Align();
        var copied = 0;
        while (copied < maxBytes && Future.LogEndOffset < Source.LogEndOffset)
        {
            var bytes = CopyChunk(Math.Min(ChunkBytes, maxBytes - copied));
            if (bytes < 0)
            {
                Align();
                continue;
            }

            if (bytes == 0)
            {
                // The source's end is a new segment behind a gap, because the records before it are gone.
                using (Future.State.EnterForChange())
                    Future.Writer.SkipTo(Source.LogEndOffset);
                break;
            }

            copied += bytes;
            CrashPoint.Reached("move.copied");
        }

        return copied;
    }

    /// <summary>Lets appends to the source wait: what follows needs a log that does not change.</summary>
    public void Seal() => Source.State.Seal();

    /// <summary>Lets them go on: to the copy after a switch, to the source without one.</summary>
    public void Unseal() => Source.State.Unseal();

    /// <summary>
    /// Copies the rest of a sealed source, with what it knows of producers and epochs, and puts the copy on stable
    /// storage.
    /// </summary>
    public void Complete()
    {
        while (CopySome(int.MaxValue) > 0 || Lag > 0)
        {
            // Until nothing is left.
        }

        using (Source.State.Lock.EnterScope())
        using (Future.State.Lock.EnterScope())
        {
            Future.State.ThrowIfUnusable();
            Future.UpdateConfig(Source.Config);
            try
            {
                Future.Writer.Adopt(Source.State.Producers, Source.LeaderEpochs.Entries);
            }
            catch (Exception exception) when (Log.LogState.IsFailure(exception))
            {
                throw Target.Fail($"completing {Future.Path}", exception);
            }
        }

        Future.State.Flush.NamesChanged(parentToo: true);
        Future.Flush();
        CrashPoint.Reached("move.flushed");
    }

    /// <summary>Where the batch begins that holds the first offset: a little before it, perhaps.</summary>
    internal static long FirstOffset(PartitionLog log)
    {
        var start = log.LogStartOffset;
        var first = log.Read(start, 1, long.MaxValue, minOneMessage: false);
        first.Records.Dispose();
        return Math.Min(start, first.FirstBatchOffset);
    }

    /// <summary>Makes the copy a prefix of the source.</summary>
    private void Align()
    {
        var start = Source.LogStartOffset;
        if (Future.LogEndOffset < start && FirstOffset(Source) is var first && Future.LogEndOffset < first)
            Future = _moves.Restart(Source, Future, first);
        Truncate();
        start = Source.LogStartOffsetToCheckpoint;
        if (Future.LogStartOffset < start && start <= Future.LogEndOffset)
            Future.DeleteRecordsBefore(start);
    }

    /// <summary>Cuts what the source does not have, as a follower does whose leader has another history.</summary>
    private void Truncate()
    {
        if (Future.LogEndOffset > Source.LogEndOffset)
            Future.TruncateTo(Source.LogEndOffset);
        while (Future.LeaderEpochs.LatestEpoch is var epoch and >= 0)
        {
            var end = Source.LeaderEpochs.EndOffsetFor(epoch, Source.LogEndOffset);
            if (end.Epoch < 0)
                return;
            var own = Future.LeaderEpochs.EndOffsetFor(end.Epoch, Future.LogEndOffset);
            var common = end.Epoch == epoch ? end.EndOffset : Math.Min(end.EndOffset, own.EndOffset);
            if (common < 0 || common >= Future.LogEndOffset)
                return;
            Future.TruncateTo(common);
        }
    }

    /// <summary>Copies a run of batches: its bytes, 0 when none is there, -1 when the source has them no
    /// more.</summary>
    private int CopyChunk(int maxBytes)
    {
        var from = Math.Max(Future.LogEndOffset, Source.LogStartOffset);
        KBroker.Protocol.Records.Records records;
        try
        {
            records = Source.Read(from, maxBytes, long.MaxValue, minOneMessage: true).Records;
        }
        catch (OffsetOutOfRangeException)
        {
            return -1;
        }
        catch (ObjectDisposedException) when (Source.State.IsClosed)
        {
            throw new StorageException($"The log of {Source.TopicPartition} was deleted.");
        }

        using (records)
            return records.IsEmpty ? 0 : Append(records, from);
    }

    private int Append(in KBroker.Protocol.Records.Records records, long from)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(records.SizeInBytes);
        try
        {
            records.CopyTo(buffer);
            var bytes = new ReadOnlySequence<byte>(buffer, 0, records.SizeInBytes);
            var result = Future.AppendAsFollower(bytes);
            if (!result.IsSuccess)
                throw new InvalidDataException($"Records from offset {from} on are damaged: {result.ErrorMessage}");
            return result.SizeInBytes;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }
}
