using KBroker.Protocol;
using KBroker.Storage.Crashing;
using Microsoft.Extensions.Logging;

namespace KBroker.Storage.Moves;

/// <summary>
/// Looks at the names in the log directories before a log is opened, and leaves each partition at most one directory
/// that bears its name and one copy: what a crash in the middle of a move, or a directory that was away, left behind.
/// </summary>
/// <remarks>
/// What the metadata says counts: it was told the target when the copy was complete, and before the source was taken
/// away.
/// <list type="bullet">
/// <item>A source and a copy: the move was not finished; the source is served, the copy is gone on with.</item>
/// <item>A copy alone, and the metadata names its directory: the crash came between the two renames, so the copy
/// gets its name. So it does, too, when the metadata names a directory that works and does not have the log.</item>
/// <item>A copy alone, and the metadata names a directory that is away: it waits for that one.</item>
/// <item>Two directories with the name: a source whose disk failed in the switch is back. The one that the metadata
/// names is served, the other renamed to end with <c>-stray</c>.</item>
/// <item>One with the name where the metadata names another, which is away: it may lack what was written there since,
/// so it is left alone and the partition is offline.</item>
/// </list>
/// </remarks>
internal sealed class MoveRecovery(
    LogSet set, LogOpener opener, DelayedDeletion deletion, Func<TopicPartition, Uuid, LogConfig?> configOf,
    Func<TopicPartition, Uuid> directoryOf)
{
    private readonly Dictionary<TopicPartition, List<LogDirectory>> _currents = [];
    private readonly Dictionary<TopicPartition, List<(LogDirectory Directory, string Path)>> _futures = [];
    private readonly HashSet<(LogDirectory Directory, TopicPartition Partition)> _withheld = [];

    /// <summary>Brings the directories in order.</summary>
    public void Run()
    {
        // Without a second directory nothing can have been moved.
        if (set.Directories.Count == 1)
            return;
        foreach (var directory in set.Directories.Where(static d => !d.IsOffline))
            set.ForDirectory(directory, "listing it", List);
        ForgetOthers();
        foreach (var (partition, futures) in _futures)
            Resolve(partition, futures);
        foreach (var (partition, directories) in _currents)
        {
            if (directories.Count > 1)
                ChooseOne(partition, directories);
            Withhold(partition, directories);
        }
    }

    /// <summary>Whether a log must not be opened now.</summary>
    public bool IsWithheld(LogDirectory directory, TopicPartition partition) =>
        _withheld.Contains((directory, partition));

    private void List(LogDirectory directory)
    {
        foreach (var name in set.Context.Files.ListDirectories(directory.Path))
        {
            if (TopicPartition.TryParse(name, out var partition))
            {
                if (partition != LogManager.MetadataPartition)
                    Add(_currents, partition, directory);
            }
            else if (LogSet.TryParseFuture(name, out partition))
            {
                Add(_futures, partition, (directory, Path.Combine(directory.Path, name)));
            }
        }
    }

    /// <summary>Directories of deleted topics have a name, but no say: they become stray when the rest is
    /// opened.</summary>
    private void ForgetOthers()
    {
        foreach (var (partition, directories) in _currents.ToList())
        {
            if (directories.Count > 1 || _futures.ContainsKey(partition))
                directories.RemoveAll(d => !IsOfTopic(partition, Path.Combine(d.Path, partition.ToString())));
            if (directories.Count == 0)
                _currents.Remove(partition);
        }
    }

    private bool IsOfTopic(TopicPartition partition, string path) =>
        configOf(partition, opener.ReadTopicId(path)) is not null;

    private static void Add<T>(Dictionary<TopicPartition, List<T>> places, TopicPartition partition, T place)
    {
        if (!places.TryGetValue(partition, out var list))
            places[partition] = list = [];
        list.Add(place);
    }

    /// <summary>Of the copies of a partition one is kept at most, or becomes the log.</summary>
    private void Resolve(TopicPartition partition, List<(LogDirectory Directory, string Path)> futures)
    {
        var assigned = directoryOf(partition);
        var kept = futures
            .Where(f => IsOfTopic(partition, f.Path))
            .OrderByDescending(f => f.Directory.DirectoryId == assigned)
            .FirstOrDefault();
        foreach (var (directory, path) in futures.Where(f => f.Path != kept.Path))
            set.ForDirectory(directory, "deleting a copy", _ => deletion.DeleteDirectory(path, 0));
        if (kept.Path is null || _currents.ContainsKey(partition))
            return;
        if (kept.Directory.DirectoryId != assigned && MayBeAway(assigned))
        {
            set.Context.Logger.LogWarning(
                "{Copy} waits for log directory {Assigned}, which has {Partition}.", kept.Path, assigned, partition);
            return;
        }

        set.ForDirectory(kept.Directory, "finishing a move", directory =>
        {
            MakeRoom(directory, partition);
            set.Context.Files.Rename(kept.Path, Path.Combine(directory.Path, partition.ToString()));
            CrashPoint.Reached("move.recovered");
            set.Context.Files.FlushDirectory(directory.Path);
            set.Context.Logger.LogWarning(
                "{Copy} is all there is of {Partition}, and becomes it.", kept.Path, partition);
            Add(_currents, partition, directory);
        });
    }

    /// <summary>A directory of a deleted topic of the same name gives way.</summary>
    private void MakeRoom(LogDirectory directory, TopicPartition partition)
    {
        var path = Path.Combine(directory.Path, partition.ToString());
        if (set.Context.Files.DirectoryExists(path))
            set.Context.Files.Rename(path, Path.Combine(directory.Path, set.StrayName(partition)));
    }

    private void ChooseOne(TopicPartition partition, List<LogDirectory> directories)
    {
        var assigned = directoryOf(partition);
        var kept = directories.Find(d => d.DirectoryId == assigned) ?? directories.MaxBy(d => SizeOf(d, partition))!;
        foreach (var directory in directories.Where(d => d != kept).ToList())
        {
            directories.Remove(directory);
            set.ForDirectory(directory, "marking a stray log", d =>
            {
                var stray = Path.Combine(d.Path, set.StrayName(partition));
                set.Context.Logger.LogWarning(
                    "{Partition} lies in {Kept}; what {Directory} has of it becomes {Stray}.",
                    partition,
                    kept.Path,
                    d.Path,
                    stray);
                set.Context.Files.Rename(Path.Combine(d.Path, partition.ToString()), stray);
                set.Context.Files.FlushDirectory(d.Path);
            });
        }
    }

    private void Withhold(TopicPartition partition, List<LogDirectory> directories)
    {
        var assigned = directoryOf(partition);
        if (!LogDirectory.IsOrdinaryId(assigned) || !MayBeAway(assigned))
            return;
        foreach (var directory in directories)
        {
            _withheld.Add((directory, partition));
            set.Context.Logger.LogError(
                "{Partition} is offline: it lies in log directory {Assigned}, which is away, and what {Directory} has "
                + "of it may be older.",
                partition,
                assigned,
                directory.Path);
        }
    }

    /// <summary>Whether the partition may lie in a directory that could not be opened.</summary>
    private bool MayBeAway(Uuid assigned) =>
        set.Directories.All(d => d.IsOffline || d.DirectoryId != assigned)
        && set.Directories.Any(static d => d.IsOffline);

    private long SizeOf(LogDirectory directory, TopicPartition partition) =>
        set.Context.Files.ListFiles(Path.Combine(directory.Path, partition.ToString())).Sum(static f => f.Length);
}
