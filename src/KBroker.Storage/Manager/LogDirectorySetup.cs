using KBroker.Protocol;
using KBroker.Storage.Checkpoints;
using KBroker.Storage.Files;
using KBroker.Storage.Log;
using Microsoft.Extensions.Logging;

namespace KBroker.Storage;

/// <summary>
/// Opens the log directories: creates, locks and formats them, and checks that they belong to this node and cluster.
/// </summary>
internal sealed class LogDirectorySetup(LogManagerOptions options, LogContext context)
{
    private const string LockFileName = ".lock";

    /// <summary>The locks taken; given up when the manager is closed.</summary>
    public List<IDisposable> Locks { get; } = [];

    /// <summary>The cluster that the directories belong to.</summary>
    public string ClusterId { get; private set; } = "";

    /// <summary>Opens all directories.</summary>
    /// <returns>In the order of the options; some may be offline, never all.</returns>
    /// <exception cref="LogDirectoryException">One is locked, or of another cluster or node; or none works.</exception>
    public List<LogDirectory> Open()
    {
        var directories = new List<LogDirectory>();
        var found = new List<MetaProperties?>();
        foreach (var path in options.LogDirectories.Select(Path.GetFullPath).Distinct())
        {
            var directory = new LogDirectory(path, context, options.RunInline);
            directories.Add(directory);
            found.Add(OpenOne(directory));
        }

        if (directories.Count == 0)
            throw new LogDirectoryException("No log directory is configured.");
        if (directories.Find(static d => !d.IsOffline) is null)
        {
            throw new LogDirectoryException(
                $"No log directory can be used: {directories[0].Path}: {directories[0].Failure!.Message}",
                directories[0].Failure);
        }

        ClusterId = options.ClusterId ?? found.Find(static f => f is not null)?.ClusterId
            ?? options.NewUuid().ToString();
        for (var i = 0; i < directories.Count; i++)
        {
            if (!directories[i].IsOffline)
                Identify(directories[i], found[i], directories);
        }

        return directories;
    }

    private MetaProperties? OpenOne(LogDirectory directory)
    {
        try
        {
            context.Files.CreateDirectoryDurably(directory.Path);
            directory.BeginUse();
            Locks.Add(context.Files.TryLock(Path.Combine(directory.Path, LockFileName))
                ?? throw new LogDirectoryException($"Log directory {directory.Path} is in use by another broker: its "
                    + $"{LockFileName} is locked. Stop that one, or give this one another log.dirs."));
            var properties = MetaProperties.Read(context.Files, directory.Path);
            directory.WasCleanlyShutDown = CleanShutdownFile.Exists(context.Files, directory.Path);
            return properties;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            directory.Fail("opening it", exception);
            return null;
        }
    }

    private void Identify(LogDirectory directory, MetaProperties? found, List<LogDirectory> all)
    {
        var path = Path.Combine(directory.Path, MetaProperties.FileName);
        if (found is not null && found.ClusterId != ClusterId)
        {
            throw new LogDirectoryException(
                $"{path}: cluster.id {found.ClusterId} is not that of this broker, {ClusterId}.");
        }

        if (found is not null && found.NodeId != options.NodeId)
        {
            throw new LogDirectoryException(
                $"{path}: node.id {found.NodeId} is not that of this broker, {options.NodeId}.");
        }

        if (found is { DirectoryId.IsZero: false } && all.Exists(d => d.DirectoryId == found.DirectoryId))
        {
            throw new LogDirectoryException(
                $"{path}: directory.id {found.DirectoryId} is that of another log directory, too.");
        }

        try
        {
            directory.DirectoryId = found is null || found.DirectoryId.IsZero ? NewDirectoryId() : found.DirectoryId;
            if (directory.DirectoryId != found?.DirectoryId)
            {
                new MetaProperties(ClusterId, options.NodeId, directory.DirectoryId)
                    .Write(context.Files, directory.Path);
                context.Logger.LogInformation(
                    "Log directory {Directory} is formatted: cluster {ClusterId}, node {NodeId}, directory id {Id}.",
                    directory.Path,
                    ClusterId,
                    options.NodeId,
                    directory.DirectoryId);
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            directory.Fail("formatting it", exception);
        }
    }

    private Uuid NewDirectoryId()
    {
        while (true)
        {
            var id = options.NewUuid();
            if (LogDirectory.IsOrdinaryId(id))
                return id;
        }
    }
}
