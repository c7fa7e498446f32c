using KBroker.Storage.Checkpoints;

namespace KBroker.Storage.Cleaning;

/// <summary>
/// Up to where each log of a directory is compacted: <c>cleaner-offset-checkpoint</c>, kept in memory and replaced on
/// disk with each change. An offset that is too low makes more work; one that is too high would let a tombstone go
/// before what it deletes, so it is lowered before a log is cut, and removed before one is deleted.
/// </summary>
internal sealed class CleanerCheckpoint(OffsetCheckpointFile file)
{
    private readonly Lock _lock = new();
    private Dictionary<TopicPartition, long> _offsets = [];

    /// <summary>Takes what the file holds, as it was read.</summary>
    public void Load(Dictionary<TopicPartition, long> offsets)
    {
        lock (_lock)
            _offsets = offsets;
    }

    /// <summary>The first offset of a log that is not compacted; null when nothing is.</summary>
    public long? Get(TopicPartition partition)
    {
        lock (_lock)
            return _offsets.TryGetValue(partition, out var offset) ? offset : null;
    }

    /// <summary>Notes up to where a log is compacted.</summary>
    /// <exception cref="IOException">The file could not be written.</exception>
    public void Set(TopicPartition partition, long offset)
    {
        lock (_lock)
        {
            if (_offsets.TryGetValue(partition, out var before) && before == offset)
                return;
            _offsets[partition] = offset;
            file.Write(_offsets);
        }
    }

    /// <summary>Forgets logs that are deleted, or of which others of the same names are created.</summary>
    /// <exception cref="IOException">The file could not be written.</exception>
    public void Forget(IEnumerable<TopicPartition> partitions)
    {
        lock (_lock)
        {
            if (partitions.Count(_offsets.Remove) > 0)
                file.Write(_offsets);
        }
    }

    /// <summary>Lowers the offset of a log that is about to be cut.</summary>
    public void Truncate(TopicPartition partition, long end)
    {
        if (Get(partition) > end)
            Set(partition, end);
    }
}
