using System.Threading.Channels;
using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using Microsoft.Extensions.Logging;

namespace KBroker.Cluster.Replication;

/// <summary>A replica, and the log directory that it lies in.</summary>
/// <param name="TopicId">The topic's id.</param>
/// <param name="Partition">The partition's index.</param>
/// <param name="DirectoryId">The directory's id.</param>
public readonly record struct DirectoryAssignment(Uuid TopicId, int Partition, Uuid DirectoryId);

/// <summary>
/// Tells the controller in which log directories this broker's replicas lie, so that it knows which of them a failed
/// directory takes away. What is noted before the broker is registered waits until then; many are told in one request.
/// </summary>
public sealed class DirectoryAssignments : IAsyncDisposable
{
    private const int MaxPerRequest = 2_250;

    private readonly Channel<DirectoryAssignment> _noted = Channel.CreateUnbounded<DirectoryAssignment>(
        new UnboundedChannelOptions { SingleReader = true });

    private readonly int _brokerId;
    private readonly ILogger _logger;
    private readonly CancellationTokenSource _stopping = new();
    private Task _loop = Task.CompletedTask;
    private IController? _controller;
    private long _brokerEpoch;

    /// <summary>Creates it; nothing is sent before <see cref="Start"/>.</summary>
    /// <param name="brokerId">This broker's id.</param>
    /// <param name="logger">Where refusals are told.</param>
    public DirectoryAssignments(int brokerId, ILogger logger)
    {
        _brokerId = brokerId;
        _logger = logger;
    }

    /// <summary>Notes where a replica lies; never waits.</summary>
    /// <param name="assignment">Which, and where.</param>
    public void Note(DirectoryAssignment assignment) => _noted.Writer.TryWrite(assignment);

    /// <summary>Begins to send.</summary>
    /// <param name="controller">To whom.</param>
    /// <param name="brokerEpoch">The epoch of the registration.</param>
    public void Start(IController controller, long brokerEpoch)
    {
        _controller = controller;
        _brokerEpoch = brokerEpoch;
        _loop = Task.Run(RunAsync);
    }

    /// <summary>Tells of one replica at once, and waits until that is on stable storage.</summary>
    /// <param name="assignment">Which, and where.</param>
    /// <param name="cancellation">Stops the waiting, not the change.</param>
    /// <returns>None, or why the controller refuses.</returns>
    public async ValueTask<ErrorCode> AssignAsync(DirectoryAssignment assignment, CancellationToken cancellation)
    {
        if (_controller is not { } controller)
            return ErrorCode.NotController;
        var response = await controller.AssignReplicasToDirsAsync(Request([assignment]), cancellation)
            .ConfigureAwait(false);
        return response.ErrorCode != ErrorCode.None
            ? response.ErrorCode
            : response.Directories[0].Topics[0].Partitions[0].ErrorCode;
    }

    /// <summary>Stops; what was not sent is found again at the next start.</summary>
    public async ValueTask DisposeAsync()
    {
        _noted.Writer.TryComplete();
        await _stopping.CancelAsync().ConfigureAwait(false);
        await _loop.ConfigureAwait(false);
        _stopping.Dispose();
    }

    private async Task RunAsync()
    {
        var noted = new Dictionary<(Uuid, int), DirectoryAssignment>();
        try
        {
            while (await _noted.Reader.WaitToReadAsync(_stopping.Token).ConfigureAwait(false))
            {
                noted.Clear();
                while (noted.Count < MaxPerRequest && _noted.Reader.TryRead(out var assignment))
                    noted[(assignment.TopicId, assignment.Partition)] = assignment;
                var response = await _controller!.AssignReplicasToDirsAsync(Request(noted.Values), _stopping.Token)
                    .ConfigureAwait(false);
                Report(response);
            }
        }
        catch (OperationCanceledException)
        {
            // The broker stops.
        }
    }

    private AssignReplicasToDirsRequest Request(IEnumerable<DirectoryAssignment> assignments) => new()
    {
        BrokerId = _brokerId,
        BrokerEpoch = _brokerEpoch,
        Directories = [.. assignments.GroupBy(static a => a.DirectoryId).Select(static directory =>
            new AssignReplicasToDirsRequest.DirectoryData
            {
                Id = directory.Key,
                Topics = [.. directory.GroupBy(static a => a.TopicId).Select(static topic =>
                    new AssignReplicasToDirsRequest.TopicData
                    {
                        TopicId = topic.Key,
                        Partitions = [.. topic.Select(static a =>
                            new AssignReplicasToDirsRequest.PartitionData { PartitionIndex = a.Partition })],
                    })],
            })],
    };

    private void Report(AssignReplicasToDirsResponse response)
    {
        if (response.ErrorCode == ErrorCode.UnsupportedVersion)
        {
            // The cluster's metadata.version is from before brokers could say so.
            return;
        }

        if (response.ErrorCode != ErrorCode.None)
        {
            _logger.LogError("The controller refused to note log directories: {Error}", response.ErrorCode);
            return;
        }

        foreach (var directory in response.Directories)
        {
            foreach (var topic in directory.Topics)
            {
                // A topic that is gone by now needs no directory.
                foreach (var partition in topic.Partitions.Where(static p =>
                    p.ErrorCode is not (ErrorCode.None or ErrorCode.UnknownTopicId)))
                {
                    _logger.LogError(
                        "The controller refused to note directory {Directory} of partition {Partition} of {Topic}: "
                        + "{Error}",
                        directory.Id,
                        partition.PartitionIndex,
                        topic.TopicId,
                        partition.ErrorCode);
                }
            }
        }
    }
}
