using KBroker.Protocol;
using KBroker.Storage;
using KBroker.Storage.Crashing;
using KBroker.Storage.Moves;
using Microsoft.Extensions.Logging;

namespace KBroker.Cluster.Replication;

/// <summary>
/// Moves replicas between the log directories of this broker (KIP-113): takes the requests, copies in the background,
/// and lets the copy take the place of the replica when it has everything.
/// </summary>
/// <remarks>
/// The end of a move holds appends to the partition up for a few flushes: the copy is completed, the controller told of
/// the new directory, the directories renamed. The controller is told before, so that at any time the directory that it
/// knows has every record that was acknowledged.
/// </remarks>
public sealed class ReplicaMoves : IAsyncDisposable
{
    private const int StepBytes = 1 << 20;

    private readonly LogManager _logs;
    private readonly PartitionRegistry _partitions;
    private readonly DirectoryAssignments _assignments;
    private readonly MoveThrottle _throttle;
    private readonly ILogger _logger;
    private readonly SemaphoreSlim _slots;
    private readonly Lock _lock = new();
    private readonly Dictionary<TopicPartition, Running> _running = [];
    private bool _stopped;

    /// <summary>Creates it; nothing moves before <see cref="Resume"/> or a request.</summary>
    /// <param name="logs">The logs on disk.</param>
    /// <param name="partitions">The partitions of this broker.</param>
    /// <param name="assignments">Tells the controller.</param>
    /// <param name="throttle">Holds the copying back.</param>
    /// <param name="threads"><c>num.replica.alter.log.dirs.threads</c>: how many moves copy at the same time.</param>
    /// <param name="logger">Where moves are told.</param>
    public ReplicaMoves(
        LogManager logs,
        PartitionRegistry partitions,
        DirectoryAssignments assignments,
        MoveThrottle throttle,
        int threads,
        ILogger logger)
    {
        _logs = logs;
        _partitions = partitions;
        _assignments = assignments;
        _throttle = throttle;
        _logger = logger;
        _slots = new SemaphoreSlim(Math.Max(1, threads));
    }

    /// <summary>Goes on with the moves that the last run of the broker did not finish.</summary>
    public void Resume()
    {
        foreach (var future in _logs.Moves.Futures)
        {
            if (_partitions.Find(future.TopicPartition, out var partition) == ErrorCode.None)
                Start(partition, future.Directory);
        }
    }

    /// <summary>
    /// Begins to move a replica to a directory. A move to another one is given up; one to the directory where the
    /// replica is gives up what is under way. For a replica that is not here yet the directory is remembered.
    /// </summary>
    /// <param name="topicPartition">Which.</param>
    /// <param name="path">The directory, as in <c>log.dirs</c>, absolute.</param>
    /// <param name="isKnown">Whether the topic has such a partition.</param>
    /// <returns>Kafka's answer.</returns>
    public ErrorCode Alter(TopicPartition topicPartition, string path, bool isKnown)
    {
        if (!_logs.Moves.CanName(topicPartition))
            return ErrorCode.InvalidTopicException;
        if (_logs.Directories.FirstOrDefault(d => d.Path == path) is not { } target)
            return ErrorCode.LogDirNotFound;
        if (target.IsOffline)
            return ErrorCode.KafkaStorageError;
        var error = _partitions.Find(topicPartition, out var partition);
        // To where it lies already means: let the move go.
        if (target.IsCordoned && !(error == ErrorCode.None && partition!.Log.Directory == target))
            return ErrorCode.InvalidReplicaAssignment;
        if (error == ErrorCode.KafkaStorageError || (error == ErrorCode.None && partition!.IsOffline))
            return ErrorCode.KafkaStorageError;
        if (error != ErrorCode.None)
        {
            _logs.Prefer(topicPartition, target);
            return isKnown ? ErrorCode.ReplicaNotAvailable : ErrorCode.UnknownTopicOrPartition;
        }

        return Start(partition!, target);
    }

    /// <summary>Stops all moves where they are; the next start goes on.</summary>
    public async ValueTask DisposeAsync()
    {
        List<Running> running;
        lock (_lock)
        {
            _stopped = true;
            running = [.. _running.Values];
        }

        foreach (var one in running)
            await one.Stopping.CancelAsync().ConfigureAwait(false);
        foreach (var one in running)
            await one.Work.ConfigureAwait(false);
        _slots.Dispose();
    }

    private ErrorCode Start(Partition partition, LogDirectory target)
    {
        lock (_lock)
        {
            if (_stopped)
                return ErrorCode.NotLeaderOrFollower;
            try
            {
                _running.TryGetValue(partition.TopicPartition, out var earlier);
                if (earlier?.Target == target)
                    return ErrorCode.None;
                earlier?.Stopping.Cancel();
                _running.Remove(partition.TopicPartition);
                if (_logs.Moves.Begin(partition.TopicPartition, target) is not { } move)
                {
                    _logs.Moves.Cancel(partition.TopicPartition);
                    return ErrorCode.None;
                }

                _logger.LogInformation(
                    "{Partition} moves from {Source} to {Target}: {Bytes} bytes.",
                    partition.TopicPartition,
                    move.Source.Directory.Path,
                    target.Path,
                    move.Source.SizeInBytes);
                var running = new Running(target);
                _running[partition.TopicPartition] = running;
                var before = earlier?.Work ?? Task.CompletedTask;
                running.Work = Task.Run(() => RunAsync(partition, move, running, before));
                return ErrorCode.None;
            }
            catch (StorageException failure)
            {
                _logger.LogError("{Partition} cannot move: {Reason}", partition.TopicPartition, failure.Message);
                return ErrorCode.KafkaStorageError;
            }
        }
    }

    private async Task RunAsync(Partition partition, LogMove move, Running running, Task before)
    {
        var cancellation = running.Stopping.Token;
        // Two must not hold the appends of one partition up, because the first to end would let them go.
        await before.ConfigureAwait(false);
        try
        {
            await _slots.WaitAsync(cancellation).ConfigureAwait(false);
            try
            {
                await CopyAsync(move, cancellation).ConfigureAwait(false);
                if (await FinishAsync(partition, move, cancellation).ConfigureAwait(false))
                {
                    _logger.LogInformation(
                        "{Partition} has moved to {Target}.", partition.TopicPartition, move.Target.Path);
                }
            }
            finally
            {
                _slots.Release();
            }
        }
        catch (OperationCanceledException)
        {
            // Another move takes its place, or the broker stops.
        }
        catch (Exception failure)
        {
            Report(partition, move, failure);
        }
        finally
        {
            Forget(partition.TopicPartition, running);
        }
    }

    private async Task CopyAsync(LogMove move, CancellationToken cancellation)
    {
        int copied;
        do
        {
            cancellation.ThrowIfCancellationRequested();
            copied = move.CopySome(StepBytes);
            await _throttle.TakeAsync(copied, cancellation).ConfigureAwait(false);
        }
        while (copied >= StepBytes);

        // What is flushed now need not be while the appends wait.
        move.Future.Flush();
    }

    private async Task<bool> FinishAsync(Partition partition, LogMove move, CancellationToken cancellation)
    {
        var source = move.Source;
        var assignment = new DirectoryAssignment(
            partition.TopicId, partition.TopicPartition.Partition, move.Target.DirectoryId);
        move.Seal();
        try
        {
            move.Complete();
            cancellation.ThrowIfCancellationRequested();
            // Not cancelled half-way: what the controller was told must come true.
            var error = await _assignments.AssignAsync(assignment, CancellationToken.None).ConfigureAwait(false);
            if (error is not (ErrorCode.None or ErrorCode.UnsupportedVersion))
            {
                _logger.LogError(
                    "{Partition} stays where it is: the controller does not take its new directory: {Error}",
                    partition.TopicPartition,
                    error);
                return false;
            }

            CrashPoint.Reached("move.assigned");
            if (!await SwitchAsync(partition, move, assignment).ConfigureAwait(false))
                return false;
            partition.ReplaceLog(move.Future);
        }
        finally
        {
            move.Unseal();
        }

        _logs.Moves.Retire(source);
        return true;
    }

    private async Task<bool> SwitchAsync(Partition partition, LogMove move, DirectoryAssignment assignment)
    {
        try
        {
            if (_logs.Moves.Switch(move))
                return true;
        }
        catch (StorageException failure)
        {
            Report(partition, move, failure);
        }

        // It was given up, or the target has failed: the replica is where it was.
        await _assignments.AssignAsync(
            assignment with { DirectoryId = move.Source.Directory.DirectoryId }, CancellationToken.None)
            .ConfigureAwait(false);
        return false;
    }

    private void Report(Partition partition, LogMove move, Exception failure)
    {
        // Deleted, or another move took its place.
        if (_logs.Moves.Find(partition.TopicPartition) != move.Future)
            return;
        _logger.LogError(
            failure is StorageException ? null : failure,
            "{Partition} does not move to {Target}: {Reason}",
            partition.TopicPartition,
            move.Target.Path,
            failure.Message);
        // After a failure of the source the copy may be gone on with when it is back.
        if (!move.Source.Directory.IsOffline)
            _logs.Moves.Cancel(partition.TopicPartition);
    }

    private void Forget(TopicPartition topicPartition, Running running)
    {
        lock (_lock)
        {
            if (_running.GetValueOrDefault(topicPartition) == running)
                _running.Remove(topicPartition);
        }
    }

    private sealed class Running(LogDirectory target)
    {
        public LogDirectory Target => target;

        public CancellationTokenSource Stopping { get; } = new();

        public Task Work { get; set; } = Task.CompletedTask;
    }
}
