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
