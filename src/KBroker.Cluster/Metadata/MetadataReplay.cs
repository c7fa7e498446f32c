using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;
using KBroker.Storage;
using KBroker.Storage.Files;

namespace KBroker.Cluster.Metadata;

/// <summary>Makes the image of a metadata log from its newest snapshot and the records behind that.</summary>
internal sealed class MetadataReplay
{
    private const int ReadBytes = 1024 * 1024;

    private readonly List<IMessage> _transaction = [];
    private bool _inTransaction;
    private MetadataDelta _delta = new(MetadataImage.Empty);
    private MetadataProvenance _provenance = MetadataProvenance.Empty;

    private MetadataReplay()
    {
    }

    /// <summary>The image at the end of the log.</summary>
    public MetadataImage Image { get; private set; } = MetadataImage.Empty;

    /// <summary>The voters that the snapshot and the log name.</summary>
    public QuorumVoters Voters { get; private set; } = QuorumVoters.Static;

    /// <summary>Whether the log ends within a transaction, whose records then do not count.</summary>
    public bool HasOpenTransaction => _inTransaction;

    /// <summary>Bytes of the log behind the snapshot.</summary>
    public long BytesBehindSnapshot { get; private set; }

    /// <summary>File names of newer snapshots that cannot be read.</summary>
    public List<string> DamagedSnapshots { get; } = [];

    /// <exception cref="InvalidMetadataException">Something cannot be read, or does not fit.</exception>
    public static MetadataReplay Run(PartitionLog log, IFileSystem files, CompressionCodecs codecs)
    {
        var replay = new MetadataReplay();
        var position = replay.ReplaySnapshot(log, files, codecs);
        replay.ReplayLog(log, position, codecs);
        replay.Image = replay._delta.Apply(replay._provenance);
        return replay;
    }

    /// <summary>
    /// The newest snapshot that can be read and that the log goes on from; without one, the log from its beginning, as
    /// long as that is there.
    /// </summary>
    private long ReplaySnapshot(PartitionLog log, IFileSystem files, CompressionCodecs codecs)
    {
        var snapshots = SnapshotFile.List(files, log.Path);
        InvalidMetadataException? problem = null;
        for (var i = snapshots.Count - 1; i >= 0; i--)
        {
            var id = snapshots[i];
            if (id.EndOffset < log.LogStartOffset || id.EndOffset > log.LogEndOffset)
            {
                throw problem ?? new InvalidMetadataException(
                    $"{log.Path}: the newest snapshot ends at offset {id.EndOffset}, but the log has only the offsets "
                    + $"{log.LogStartOffset} to {log.LogEndOffset}.");
            }

            try
            {
                ReplaySnapshot(SnapshotFile.Read(files, Path.Combine(log.Path, id.FileName), codecs), id);
                return id.EndOffset;
            }
            catch (InvalidMetadataException exception)
            {
                problem ??= exception;
                DamagedSnapshots.Add(id.FileName);
            }
        }

        return log.LogStartOffset == 0 ? 0 : throw problem ?? new InvalidMetadataException(
            $"{log.Path} begins at offset {log.LogStartOffset}, and there is no snapshot of what was before.");
    }

    private void ReplaySnapshot(SnapshotContent content, SnapshotId id)
    {
        var delta = new MetadataDelta(MetadataImage.Empty);
        foreach (var record in content.Records)
            Replay(delta, record, id.FileName);
        _delta = delta;
        Voters = content.Voters;
        _provenance = new MetadataProvenance(id.EndOffset - 1, id.Epoch, content.LastContainedTimestampMs);
    }

    private void ReplayLog(PartitionLog log, long position, CompressionCodecs codecs)
    {
        while (position < log.LogEndOffset)
        {
            using var records = log.Read(position, ReadBytes, long.MaxValue, minOneMessage: true).Records;
            var bytes = WholeBatches(records.ToArray());
            if (bytes.IsEmpty)
                throw new InvalidMetadataException($"{log.Path}: nothing can be read at offset {position}.");
            var start = position;
            foreach (var batch in MetadataBatches.Decode(bytes, codecs, log.Path))
            {
                // A read gives the whole batch that holds an offset; a snapshot may end within one.
                if (batch.LastOffset < start)
                    continue;
                if (batch.BaseOffset > position)
                {
                    throw new InvalidMetadataException(
                        $"{log.Path}: offsets {position} to {batch.BaseOffset - 1} are missing.");
                }

                foreach (var (type, value) in batch.Control)
                    Voters = SnapshotFile.ReadVoters(Voters, type, value);
                ReplayBatch(batch, start, log.Path);
                _provenance = new MetadataProvenance(batch.LastOffset, batch.Epoch, batch.TimestampMs);
                position = batch.LastOffset + 1;
            }

            BytesBehindSnapshot += bytes.Length;
        }
    }

    private void ReplayBatch(MetadataBatch batch, long start, string source)
    {
        for (var i = (int)Math.Max(0, start - batch.BaseOffset); i < batch.Records.Count; i++)
        {
            var at = $"{source}, offset {batch.BaseOffset + i}";
            switch (batch.Records[i])
            {
                case BeginTransactionRecord:
                    _inTransaction = !_inTransaction
                        ? true : throw new InvalidMetadataException($"{at}: a transaction begins within another.");
                    break;
                case EndTransactionRecord:
                    EndTransaction(at);
                    foreach (var record in _transaction)
                        Replay(record, at);
                    _transaction.Clear();
                    break;
                case AbortTransactionRecord:
                    EndTransaction(at);
                    _transaction.Clear();
                    break;
                case var record when _inTransaction:
                    _transaction.Add(record);
                    break;
                case var record:
                    Replay(record, at);
                    break;
            }
        }
    }

    private void EndTransaction(string at)
    {
        if (!_inTransaction)
            throw new InvalidMetadataException($"{at}: a transaction ends that never began.");
        _inTransaction = false;
    }

    private void Replay(IMessage record, string at) => Replay(_delta, record, at);

    private static void Replay(MetadataDelta delta, IMessage record, string at)
    {
        try
        {
            delta.Replay(record);
        }
        catch (InvalidMetadataException e)
        {
            throw new InvalidMetadataException($"{at}: {e.Message}", e);
        }
    }

    /// <summary>Cuts off the incomplete batch that a read of so many bytes may end with.</summary>
    private static ReadOnlyMemory<byte> WholeBatches(ReadOnlyMemory<byte> bytes)
    {
        var length = 0;
        while (RecordBatches.Inspect(new(bytes[length..]), out var header) == RecordBatchStatus.Whole)
            length += header.SizeInBytes;
        return bytes[..length];
    }
}
