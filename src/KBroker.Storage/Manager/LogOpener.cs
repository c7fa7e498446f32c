using KBroker.Protocol;
using KBroker.Storage.Checkpoints;
using KBroker.Storage.Crashing;
using KBroker.Storage.Log;
using KBroker.Storage.Producers;
using Microsoft.Extensions.Logging;

namespace KBroker.Storage;

/// <summary>Opens and creates the logs in partition directories.</summary>
internal sealed class LogOpener(LogContext context, DelayedDeletion deletion)
{
    /// <summary>Opens an existing log.</summary>
    /// <exception cref="CorruptLogException">It is damaged before the recovery point.</exception>
    public PartitionLog Open(
        LogDirectory directory,
        TopicPartition partition,
        LogConfig config,
        LogCheckpoints checkpoints,
        bool isClean,
        Uuid? topicId = null,
        Action<long>? onScanned = null)
    {
        var path = Path.Combine(directory.Path, partition.ToString());
        return Load(
            directory, partition, path, topicId ?? ReadTopicId(path), config, checkpoints, isClean, false, onScanned);
    }

    /// <summary>Creates a log.</summary>
    public PartitionLog Create(LogDirectory directory, TopicPartition partition, Uuid topicId, LogConfig config)
    {
        var path = Path.Combine(directory.Path, partition.ToString());
        context.Files.CreateDirectory(path);
        CrashPoint.Reached("create.directory");
        if (!topicId.IsZero)
            PartitionMetadataFile.Write(context.Files, path, topicId);
        return Load(directory, partition, path, topicId, config, default, true, true, null);
    }

    /// <summary>Opens a copy that was being made.</summary>
    /// <exception cref="CorruptLogException">It is damaged before the recovery point.</exception>
    public PartitionLog OpenFuture(
        LogDirectory directory,
        TopicPartition partition,
        string path,
        LogConfig config,
        LogCheckpoints checkpoints,
        bool isClean) =>
        Load(directory, partition, path, ReadTopicId(path), config, checkpoints, isClean, false, null);

    /// <summary>Creates the copy of a log, empty, and with a first offset.</summary>
    public PartitionLog CreateFuture(LogDirectory directory, PartitionLog source, string path, long baseOffset)
    {
        context.Files.CreateDirectory(path);
        CrashPoint.Reached("move.directory");
        if (!source.TopicId.IsZero)
            PartitionMetadataFile.Write(context.Files, path, source.TopicId);
        var start = new LogCheckpoints(baseOffset, baseOffset);
        return Load(
            directory, source.TopicPartition, path, source.TopicId, source.Config, start, true, true, null);
    }

    /// <summary>The topic id of a partition directory; zero when it has none that can be read.</summary>
    public Uuid ReadTopicId(string path)
    {
        try
        {
            return PartitionMetadataFile.Read(context.Files, path);
        }
        catch (Exception exception) when (exception is InvalidDataException or FormatException)
        {
            context.Logger.LogWarning("{Problem} The topic id is taken from the metadata.", exception.Message);
            return Uuid.Zero;
        }
    }

    private PartitionLog Load(
        LogDirectory directory,
        TopicPartition partition,
        string path,
        Uuid topicId,
        LogConfig config,
        LogCheckpoints checkpoints,
        bool isClean,
        bool isNew,
        Action<long>? onScanned)
    {
        var epochs = new EpochCache(context.Files, path);
        var producers = new ProducerStates();
        var loaded = new LogLoader(context, path, config, epochs, producers) { OnScanned = onScanned ?? (_ => { }) }
            .Load(checkpoints, isClean);
        return new PartitionLog(new PartitionLogParts
        {
            Context = context,
            Directory = directory,
            Partition = partition,
            TopicId = topicId,
            Path = path,
            Config = config,
            Epochs = epochs,
            Producers = producers,
            Loaded = loaded,
            IsNew = isNew || !isClean,
            DeleteLater = deletion.DeleteSegments,
        });
    }
}

/// <summary>What the checkpoint files of a log directory say of one log.</summary>
/// <param name="RecoveryPoint">Everything below it is on stable storage.</param>
/// <param name="LogStartOffset">Nothing below it is served.</param>
internal readonly record struct LogCheckpoints(long RecoveryPoint, long LogStartOffset)
{
    /// <summary>Whether the recovery point is in the checkpoint, or merely taken as 0.</summary>
    public bool IsRecoveryPointKnown { get; init; }

    /// <summary>Whether the file of the log start offsets could not be read.</summary>
    public bool AreStartsLost { get; init; }
}
