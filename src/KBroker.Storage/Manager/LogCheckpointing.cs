using KBroker.Storage.Checkpoints;
using Microsoft.Extensions.Logging;

namespace KBroker.Storage;

/// <summary>Writes and reads the recovery points and log start offsets of the logs, a file a directory.</summary>
internal sealed class LogCheckpointing
{
    private readonly LogSet _set;

    public LogCheckpointing(LogSet set)
    {
        _set = set;
        foreach (var directory in set.Directories)
        {
            directory.CheckpointRecoveryPoints =
                () => LogSet.Guard(directory, "writing recovery points", WriteRecoveryPoints);
            directory.CheckpointLogStartOffsets =
                () => LogSet.Guard(directory, "writing log start offsets", WriteLogStartOffsets);
        }
    }

    /// <summary>Writes the recovery points of all directories.</summary>
    public void WriteRecoveryPoints() => _set.ForEachDirectory("writing recovery points", WriteRecoveryPoints);

    /// <summary>Writes the log start offsets of all directories.</summary>
    public void WriteLogStartOffsets() => _set.ForEachDirectory("writing log start offsets", WriteLogStartOffsets);

    /// <summary>Writes the recovery points of one directory.</summary>
    public void WriteRecoveryPoints(LogDirectory directory) => directory.RecoveryPoints.Write(
        [.. _set.LogsIn(directory).Select(static l => KeyValuePair.Create(l.TopicPartition, l.RecoveryPoint)),
            .. DamagedIn(directory, static c => c.RecoveryPoint)]);

    /// <summary>
    /// Writes the log start offsets of one directory. A start that the first segment's name tells is left out, as
    /// Kafka does.
    /// </summary>
    public void WriteLogStartOffsets(LogDirectory directory) => directory.LogStartOffsets.Write(
        [.. _set.LogsIn(directory).Where(static l => l.LogStartOffset > l.FirstSegmentOffset)
            .Select(static l => KeyValuePair.Create(l.TopicPartition, l.LogStartOffset)),
            .. DamagedIn(directory, static c => c.LogStartOffset).Where(static p => p.Value > 0)]);

    /// <summary>A checkpoint that cannot be read only makes more work: everything is scanned.</summary>
    public Dictionary<TopicPartition, long> Read(OffsetCheckpointFile file)
    {
        try
        {
            return file.Read();
        }
        catch (InvalidDataException exception)
        {
            _set.Context.Logger.LogWarning("{Problem} It is taken as empty.", exception.Message);
            return [];
        }
    }

    /// <summary>What the checkpoints said of damaged logs, which must not be forgotten.</summary>
    private IEnumerable<KeyValuePair<TopicPartition, long>> DamagedIn(
        LogDirectory directory, Func<LogCheckpoints, long> offsetOf) =>
        _set.DamagedCheckpoints.Where(d => d.Value.Directory == directory)
            .Select(d => KeyValuePair.Create(d.Key, offsetOf(d.Value.Checkpoints)));
}
