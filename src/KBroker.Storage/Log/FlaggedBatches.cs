using KBroker.Protocol.Records;
using KBroker.Storage.Log;

namespace KBroker.Storage;

/// <summary>
/// The side of a log that Kafka does not have: records that are hidden from consumers, and batches that carry one of
/// the broker's private attribute bits (<see cref="RecordBatchAttributes.PrivateMask"/>).
/// </summary>
public sealed class FlaggedBatches
{
    private const int MaxAttempts = 16;
    private readonly PartitionLog _log;
    private readonly LogState _state;
    private readonly VisibleReader _reader;

    internal FlaggedBatches(PartitionLog log, LogState state)
    {
        _log = log;
        _state = state;
        _reader = new VisibleReader(state, log.Read);
    }

    /// <summary>Finds the records that a consumer may see, from an offset on: hidden ones are left out.</summary>
    /// <param name="offset">Where to start.</param>
    /// <param name="hiddenTo">Where an earlier read from this offset found the hidden records to end; or the offset.
    /// </param>
    /// <param name="maxBytes">How much to look at, in bytes.</param>
    /// <param name="maxOffsetExclusive">As <see cref="PartitionLog.Read"/>'s.</param>
    /// <param name="minOneMessage">As <see cref="PartitionLog.Read"/>'s.</param>
    /// <returns>
    /// Regions of files and bytes in memory, or, where there are hidden records alone, a filler. The caller disposes
    /// the records.
    /// </returns>
    /// <exception cref="OffsetOutOfRangeException">The offset is before the log's start or behind its end.</exception>
    /// <exception cref="RecordException">The file is damaged there.</exception>
    /// <exception cref="StorageException">The log directory is offline.</exception>
    public VisibleRead ReadVisible(
        long offset, long hiddenTo, int maxBytes, long maxOffsetExclusive, bool minOneMessage)
    {
        for (var attempt = 0; ; attempt++)
        {
            try
            {
                return _reader.Read(offset, hiddenTo, maxBytes, maxOffsetExclusive, minOneMessage);
            }
            catch (Exception exception) when (
                attempt < MaxAttempts && exception is ObjectDisposedException or StaleIndexException)
            {
                // A segment was deleted meanwhile, or an index made anew.
                Thread.Yield();
            }
            catch (IOException exception) when (exception is not StorageException)
            {
                throw _state.Directory.Fail($"reading {_state.Path}", exception);
            }
        }
    }

    /// <summary>Lists flagged batches without reading them.</summary>
    /// <param name="offset">Where to start.</param>
    /// <param name="endOffset">Where to end.</param>
    /// <param name="maxCount">The most batches.</param>
    /// <param name="withBatchAround">Whether a batch that begins before the start and holds it is listed, too.</param>
    /// <param name="batches">Receives them, in order.</param>
    /// <returns>Where to go on.</returns>
    /// <exception cref="StorageException">The log directory is offline.</exception>
    public long List(
        long offset, long endOffset, int maxCount, bool withBatchAround, List<FlaggedBatch> batches)
    {
        _state.Directory.ThrowIfOffline();
        try
        {
            return new FlaggedReader(_state).Read(offset, endOffset, maxCount, withBatchAround, batches);
        }
        catch (IOException exception) when (exception is not StorageException)
        {
            throw _state.Directory.Fail($"reading {_state.Path}", exception);
        }
    }

    /// <summary>Whether the log has a flagged batch.</summary>
    public bool Any => Array.Exists(_state.Segments.All, static segment => !segment.FlagIndex.IsEmpty);

    /// <summary>
    /// The offset behind the last flagged batch or transaction marker appended since the log was opened: who follows
    /// flagged batches has something to do when it moves.
    /// </summary>
    public long FollowedEnd => _state.FollowedEnd;

    /// <summary>
    /// Moves whenever a command (a cancel) may have taken effect: by its batch, or by the marker of its transaction.
    /// </summary>
    public long CommandEnd => _state.CommandEnd;

    /// <summary>
    /// An open transaction from before the log was opened has commands: from now on <see cref="CommandEnd"/> moves with
    /// markers, too.
    /// </summary>
    /// <exception cref="StorageException">The log directory is offline.</exception>
    public void ExpectTransactionalCommands()
    {
        lock (_state.Lock)
            _state.HasTransactionalCommands = true;
    }

    /// <summary>What became of the transaction in which a record was written.</summary>
    /// <param name="producerId">The producer of the record.</param>
    /// <param name="offset">The record's offset.</param>
    /// <exception cref="StorageException">The log directory is offline.</exception>
    public TransactionFate FateOf(long producerId, long offset)
    {
        lock (_state.Lock)
        {
            if (_state.Producers.TransactionStartOf(producerId) <= offset)
                return TransactionFate.Open;
        }

        return _log.GetAbortedTransactions(offset, offset + 1).Any(t => t.ProducerId == producerId)
            ? TransactionFate.Aborted
            : TransactionFate.Committed;
    }
}
