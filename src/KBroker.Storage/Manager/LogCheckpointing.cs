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
        [.. _set.LogsIn(directory).Where(static l => l.LogStartOffsetToCheckpoint > l.FirstSegmentOffset)
            .Select(static l => KeyValuePair.Create(l.TopicPartition, l.LogStartOffsetToCheckpoint)),
            .. DamagedIn(directory, static c => c.LogStartOffset).Where(static p => p.Value > 0)]);

    /// <summary>Reads what the files of a directory say of its logs.</summary>
    public SavedCheckpoints Read(LogDirectory directory)
    {
        var recoveryPoints = Read(
            directory.RecoveryPoints, "Logs that were not closed are scanned from their start.", out _);
        var starts = Read(
            directory.LogStartOffsets, "The first offsets are taken from the leader epochs of each log.",
            out var areStartsLost);
        return new SavedCheckpoints(recoveryPoints, starts, areStartsLost);
    }

    /// <summary>Reads a file; one that cannot be read is empty.</summary>
    public Dictionary<TopicPartition, long> Read(OffsetCheckpointFile file) =>
        Read(file, "It is taken as empty.", out _);

    private Dictionary<TopicPartition, long> Read(OffsetCheckpointFile file, string consequence, out bool isLost)
    {
        isLost = false;
        try
        {
            return file.Read();
        }
        catch (InvalidDataException exception)
        {
            isLost = true;
            _set.Context.Logger.LogWarning("{Problem} {Consequence}", exception.Message, consequence);
            return [];
        }
    }

    /// <summary>What the checkpoints said of damaged logs, which must not be forgotten.</summary>
    private IEnumerable<KeyValuePair<TopicPartition, long>> DamagedIn(
        LogDirectory directory, Func<LogCheckpoints, long> offsetOf) =>
        _set.DamagedCheckpoints.Where(d => d.Value.Directory == directory)
            .Select(d => KeyValuePair.Create(d.Key, offsetOf(d.Value.Checkpoints)));
}

/// <summary>The checkpoint files of a log directory.</summary>
/// <param name="RecoveryPoints">By partition.</param>
/// <param name="Starts">By partition; only those that the first segment's name does not tell.</param>
/// <param name="AreStartsLost">The file of the starts could not be read.</param>
internal sealed record SavedCheckpoints(
    Dictionary<TopicPartition, long> RecoveryPoints, Dictionary<TopicPartition, long> Starts, bool AreStartsLost)
{
    /// <summary>What they say of one log.</summary>
    public LogCheckpoints Of(TopicPartition partition)
    {
        var isKnown = RecoveryPoints.TryGetValue(partition, out var recoveryPoint);
        return new LogCheckpoints(Math.Max(0, recoveryPoint), Math.Max(0, Starts.GetValueOrDefault(partition)))
        {
            IsRecoveryPointKnown = isKnown,
            AreStartsLost = AreStartsLost,
        };
    }
}
