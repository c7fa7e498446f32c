using System.Collections.Concurrent;
using KBroker.Protocol;
using KBroker.Storage.Log;

namespace KBroker.Storage;

/// <summary>The logs of a broker and their directories: what the parts of a <see cref="LogManager"/> share.</summary>
internal sealed class LogSet(LogManagerOptions options, LogContext context, IReadOnlyList<LogDirectory> directories)
{
    private const string StraySuffix = "-stray";
    private const string FutureSuffix = "-future";
    private const int MaxNameBytes = 255;

    /// <summary>How the name of a directory ends that is to be deleted.</summary>
    public const string DeleteSuffix = "-delete";

    public LogManagerOptions Options => options;

    public LogContext Context => context;

    /// <summary>In the order of the options; some may be offline.</summary>
    public IReadOnlyList<LogDirectory> Directories => directories;

    /// <summary>All open logs but the metadata log.</summary>
    public ConcurrentDictionary<TopicPartition, PartitionLog> Logs { get; } = new();

    /// <summary>Copies of logs that are being made in other directories; none is among <see cref="Logs"/>.</summary>
    public ConcurrentDictionary<TopicPartition, PartitionLog> Futures { get; } = new();

    /// <summary>The metadata log, which is not among <see cref="Logs"/>; null before it is opened.</summary>
    public PartitionLog? MetadataLog { get; set; }

    /// <summary>Partitions that are not served because their files are damaged.</summary>
    public ConcurrentDictionary<TopicPartition, CorruptLogException> Damaged { get; } = new();

    /// <summary>What the checkpoints said of those, which must not be forgotten.</summary>
    public ConcurrentDictionary<TopicPartition, DamagedLog> DamagedCheckpoints { get; } = new();

    /// <summary>Held while logs are created, deleted, or all closed.</summary>
    public Lock ChangeLock { get; } = new();

    /// <summary>The logs that lie in a directory, the metadata log and copies that are being made, too.</summary>
    public IEnumerable<PartitionLog> LogsIn(LogDirectory directory)
    {
        foreach (var (_, log) in Logs)
        {
            if (log.Directory == directory)
                yield return log;
        }

        foreach (var (_, future) in Futures)
        {
            if (future.Directory == directory)
                yield return future;
        }

        if (MetadataLog is { } metadata && metadata.Directory == directory)
            yield return metadata;
    }

    /// <summary>How many logs of a directory are opened or closed at the same time.</summary>
    public ParallelOptions Degree() =>
        new() { MaxDegreeOfParallelism = Math.Max(1, options.RecoveryThreadsPerDirectory) };

    /// <summary>Does something for every directory that works; one where it fails goes offline.</summary>
    public void ForEachDirectory(string action, Action<LogDirectory> run)
    {
        foreach (var directory in directories.Where(static d => !d.IsOffline))
            ForDirectory(directory, action, run);
    }

    /// <summary>Does something for a directory; when that fails it goes offline, and that is all.</summary>
    public void ForDirectory(LogDirectory directory, string action, Action<LogDirectory> run)
    {
        try
        {
            Guard(directory, action, run);
        }
        catch (StorageException)
        {
            // The directory is offline now, and it was logged; the others go on.
        }
    }

    /// <summary>Does something for a directory, which goes offline when it fails.</summary>
    public static void Guard(LogDirectory directory, string action, Action<LogDirectory> run)
    {
        directory.ThrowIfOffline();
        try
        {
            run(directory);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw directory.Fail(action, exception);
        }
    }

    /// <summary>The name of a directory that is to be deleted.</summary>
    public string DoomedName(TopicPartition partition) => MarkedName(partition, DeleteSuffix);

    /// <summary>The name of a directory that belongs to no partition.</summary>
    public string StrayName(TopicPartition partition) => MarkedName(partition, StraySuffix);

    /// <summary>The name of a directory in which a copy is made; its topic must be known again from it.</summary>
    /// <returns>Null when the topic's name is too long for that.</returns>
    public string? FutureName(TopicPartition partition)
    {
        var name = MarkedName(partition, FutureSuffix);
        return name.StartsWith(partition.ToString() + ".", StringComparison.Ordinal) ? name : null;
    }

    /// <summary>Takes the name of a copy's directory apart.</summary>
    /// <param name="name"><c>topic-partition.uuid-future</c>.</param>
    /// <param name="partition">The partition.</param>
    public static bool TryParseFuture(string name, out TopicPartition partition)
    {
        partition = default;
        if (!name.EndsWith(FutureSuffix, StringComparison.Ordinal))
            return false;
        var dot = name.LastIndexOf('.');
        return dot > 0 && TopicPartition.TryParse(name[..dot], out partition);
    }

    /// <summary><c>topic-partition.uuid-suffix</c>, the topic cut so that the name stays within 255 bytes.</summary>
    private string MarkedName(TopicPartition partition, string suffix)
    {
        Span<byte> id = stackalloc byte[Uuid.SizeInBytes];
        options.NewUuid().Write(id);
        var tail = $"-{partition.Partition}.{Convert.ToHexStringLower(id)}{suffix}";
        return partition.Topic[..Math.Min(partition.Topic.Length, MaxNameBytes - tail.Length)] + tail;
    }
}

/// <summary>Where a damaged log lies, and what the checkpoint files said of it.</summary>
internal readonly record struct DamagedLog(LogDirectory Directory, LogCheckpoints Checkpoints);
