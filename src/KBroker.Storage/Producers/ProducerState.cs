using KBroker.Protocol.Records;

namespace KBroker.Storage.Producers;

/// <summary>What is remembered of an appended batch: enough to recognise it when it is sent again.</summary>
/// <param name="LastSequence">Sequence of its last record; -1 when nothing but markers was written.</param>
/// <param name="LastOffset">Offset of its last record.</param>
/// <param name="OffsetDelta">Last offset minus first offset.</param>
/// <param name="Timestamp">Its largest timestamp, ms.</param>
internal readonly record struct ProducedBatch(int LastSequence, long LastOffset, int OffsetDelta, long Timestamp)
{
    /// <summary>Sequence of its first record.</summary>
    public int FirstSequence => Decrement(LastSequence, OffsetDelta);

    /// <summary>Offset of its first record.</summary>
    public long FirstOffset => LastOffset - OffsetDelta;

    private static int Decrement(int sequence, int decrement) =>
        sequence < decrement ? int.MaxValue - (decrement - sequence) + 1 : sequence - decrement;
}

/// <summary>
/// What a log knows of one producer: its epoch, its last five batches, its open transaction.
/// </summary>
/// <remarks>
/// A client may have five requests in flight, so a repeated one is among the last five batches; it is answered with the
/// offsets of then. Example: sequences 0-9, 10-19, 20-29 are appended; 10-19 comes again: its old offset is
/// answered. 40-49
/// comes: 30 was expected, so it is out of order, and the client sends 30-39 first.
/// </remarks>
internal sealed class ProducerState(long producerId)
{
    /// <summary>How many batches are remembered.</summary>
    public const int WindowBatches = 5;

    private readonly ProducedBatch[] _window = new ProducedBatch[WindowBatches];
    private int _first;
    private int _count;

    public long ProducerId => producerId;

    /// <summary>Epoch of the last batch; -1 when unknown.</summary>
    public short Epoch { get; private set; } = -1;

    /// <summary>Epoch of the coordinator that wrote the last marker; -1 without one.</summary>
    public int CoordinatorEpoch { get; set; } = -1;

    /// <summary>When the producer last wrote, by its records, ms.</summary>
    public long LastTimestamp { get; set; } = -1;

    /// <summary>First offset of the open transaction; null without one.</summary>
    public long? CurrentTransactionFirstOffset { get; set; }

    /// <summary>How many batches are remembered.</summary>
    public int Count => _count;

    /// <summary>The log may hold earlier batches that belong to the last five: this was read from a snapshot.</summary>
    public bool IsPartial { get; private set; }

    /// <summary>The oldest batch that is remembered. There must be one.</summary>
    public ProducedBatch First => _window[_first];

    /// <summary>Whether no batch is remembered.</summary>
    public bool IsEmpty => _count == 0;

    /// <summary>The newest batch; its sequence is -1 and its offset -1 when there is none.</summary>
    public ProducedBatch Last =>
        _count == 0 ? new ProducedBatch(-1, -1, 0, -1) : _window[(_first + _count - 1) % WindowBatches];

    /// <summary>Looks for a batch with the same epoch and sequences.</summary>
    public bool TryFindDuplicate(in RecordBatchHeader header, out ProducedBatch duplicate)
    {
        duplicate = default;
        // What follows the newest batch, as nearly all do, need not be looked for.
        if (header.ProducerEpoch != Epoch || _count == 0 || header.BaseSequence == Last.LastSequence + 1L)
            return false;
        for (var i = 0; i < _count; i++)
        {
            duplicate = _window[(_first + i) % WindowBatches];
            if (duplicate.FirstSequence == header.BaseSequence && duplicate.LastSequence == header.LastSequence)
                return true;
        }

        return false;
    }

    /// <summary>Moves to an epoch; batches of an older one are forgotten.</summary>
    public void SetEpoch(short epoch)
    {
        if (epoch == Epoch)
            return;
        Epoch = epoch;
        _count = 0;
        IsPartial = false;
    }

    /// <summary>Remembers the one batch that a snapshot tells.</summary>
    public void AddFromSnapshot(in ProducedBatch batch)
    {
        Add(batch);
        IsPartial = true;
    }

    /// <summary>Remembers batches that are older than the oldest one, found in the log.</summary>
    /// <param name="batches">In the order of the log; no more than there is room for.</param>
    public void AddOlder(IReadOnlyList<ProducedBatch> batches)
    {
        IsPartial = false;
        var known = Enumerable.Range(0, _count).Select(i => _window[(_first + i) % WindowBatches]).ToList();
        (_first, _count) = (0, 0);
        foreach (var batch in batches.Concat(known))
            Add(batch);
    }

    /// <summary>The same, to be changed on its own.</summary>
    public ProducerState Copy()
    {
        var copy = new ProducerState(producerId)
        {
            Epoch = Epoch,
            CoordinatorEpoch = CoordinatorEpoch,
            LastTimestamp = LastTimestamp,
            CurrentTransactionFirstOffset = CurrentTransactionFirstOffset,
            IsPartial = IsPartial,
            _first = _first,
            _count = _count,
        };
        _window.CopyTo(copy._window, 0);
        return copy;
    }

    /// <summary>Remembers a batch.</summary>
    public void Add(in ProducedBatch batch)
    {
        if (_count == WindowBatches)
        {
            _first = (_first + 1) % WindowBatches;
            _count--;
            IsPartial = false;
        }

        _window[(_first + _count) % WindowBatches] = batch;
        _count++;
    }
}
