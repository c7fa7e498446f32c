using KBroker.Cluster.Configuration;
using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Storage;
using Microsoft.Extensions.Logging;

namespace KBroker.Cluster.Replication;

/// <summary>
/// Follows <c>cordoned.log.dirs</c> (KIP-1066): new logs are created in other directories, and the controller is told,
/// which gives a broker no new replicas when all of its directories are cordoned. <c>*</c> stands for all of them. What
/// lies in a directory already stays and is served.
/// </summary>
/// <param name="logs">The log directories.</param>
/// <param name="configs">The configs in force.</param>
/// <param name="brokerId">This broker's id.</param>
/// <param name="logger">Where refusals are told.</param>
public sealed class CordonedDirectories(LogManager logs, ConfigView configs, int brokerId, ILogger logger)
    : IMetadataSubscriber
{
    private const string All = "*";
    private readonly Lock _lock = new();
    private IController? _controller;
    private long _brokerEpoch;
    private Task _telling = Task.CompletedTask;

    /// <summary>The ids of the directories that are cordoned and work.</summary>
    public IReadOnlyList<Uuid> Ids =>
        [.. logs.Directories.Where(static d => d is { IsCordoned: true, IsOffline: false })
            .Select(static d => d.DirectoryId)];

    /// <inheritdoc/>
    public void OnMetadata(MetadataUpdate update)
    {
        ArgumentNullException.ThrowIfNull(update);
        if (update.Delta is null || update.ChangedConfigs.Any(configs.IsBroker))
            Apply();
    }

    /// <summary>Begins to tell the controller of changes; what the registration said may be old by now.</summary>
    /// <param name="controller">The controller.</param>
    /// <param name="brokerEpoch">The epoch of the registration.</param>
    public void Start(IController controller, long brokerEpoch)
    {
        lock (_lock)
        {
            (_controller, _brokerEpoch) = (controller, brokerEpoch);
            Tell();
        }
    }

    private void Apply()
    {
        var names = configs.Broker.GetList("cordoned.log.dirs");
        var paths = names.Where(static name => name != All).Select(Path.GetFullPath).ToHashSet();
        lock (_lock)
        {
            foreach (var directory in logs.Directories)
                directory.IsCordoned = names.Contains(All) || paths.Contains(directory.Path);
            Tell();
        }
    }

    /// <summary>One after the other, each with what holds when it is sent: the last one tells the truth.</summary>
    private void Tell()
    {
        if (_controller is { } controller)
            _telling = TellAsync(_telling, controller, _brokerEpoch);
    }

    private async Task TellAsync(Task earlier, IController controller, long brokerEpoch)
    {
        // Whoever publishes the metadata must not wait for a change of it.
        await Task.Yield();
        await earlier.ConfigureAwait(false);
        try
        {
            await controller.CordonDirectoriesAsync(brokerId, brokerEpoch, Ids).ConfigureAwait(false);
        }
        catch (ControllerException refused)
        {
            logger.LogError("The controller was not told of cordoned log directories: {Reason}", refused.Message);
        }
    }
}
