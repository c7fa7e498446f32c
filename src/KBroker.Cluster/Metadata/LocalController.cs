using System.Threading.Channels;
using KBroker.Cluster.Configuration;
using KBroker.Cluster.Metadata.Control;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Storage;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace KBroker.Cluster.Metadata;

/// <summary>What a <see cref="LocalController"/> needs to know.</summary>
public sealed record LocalControllerOptions
{
    /// <summary>The log, already leading (<see cref="LocalMetadataLog.BecomeLeader"/>).</summary>
    public required LocalMetadataLog Log { get; init; }

    /// <summary>This node.</summary>
    public required int NodeId { get; init; }

    /// <summary>The values of server.properties; the dynamic ones come from the metadata.</summary>
    public required BrokerConfigValues StaticConfigs { get; init; }

    /// <summary>
    /// The controller's own registration, written at the start so that others find it; null writes none.
    /// </summary>
    public ControllerRegistration? Registration { get; init; }

    /// <summary>Makes topic ids.</summary>
    public Func<Uuid> NewUuid { get; init; } = Uuid.Random;

    /// <summary>The log.</summary>
    public ILogger? Logger { get; init; }
}

/// <summary>
/// The controller of a cluster whose metadata log is in this process. One loop does everything in turn: it takes the
/// requests
/// that are waiting, lets each build on the ones before it, and makes all of them durable with one flush.
/// </summary>
public sealed class LocalController : IController
{
    private const int MaxWaiting = 10_000;
    private const int MaxPerFlush = 256;
    private const string StorageFailed = "The metadata log cannot be written.";
    private const string Stopped = "The controller has stopped.";

    private readonly LocalControllerOptions _options;
    private readonly LocalMetadataLog _log;
    private readonly ILogger _logger;
    private readonly CollisionIndex _collisions = new();
    private readonly Task _loop;
    private readonly Channel<IOperation> _waiting = Channel.CreateBounded<IOperation>(
        new BoundedChannelOptions(MaxWaiting) { SingleReader = true });
    private volatile Exception? _failure;

    private LocalController(LocalControllerOptions options)
    {
        _options = options;
        _log = options.Log;
        _logger = options.Logger ?? NullLogger.Instance;
        _collisions.Apply(new MetadataUpdate(MetadataImage.Empty, _log.PendingImage, null));
        _loop = Task.Run(RunAsync);
    }

    private interface IOperation
    {
        /// <summary>Validates, and appends the records.</summary>
        void Run();

        /// <summary>Gives the answer, after the records are on stable storage and published.</summary>
        void Complete();

        /// <summary>Gives an answer that says why there is none.</summary>
        void Fail(ErrorCode error, string message);
    }

    /// <summary>Starts the controller and, when asked to, registers it.</summary>
    public static async Task<LocalController> StartAsync(LocalControllerOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        var controller = new LocalController(options);
        if (options.Registration is { } registration)
            await controller.ChangeAsync(state => state.Versions.HasControllerRegistration
                ? [new MetadataRecord(registration.ToRecord(), 0)] : [], default);
        return controller;
    }

    /// <inheritdoc/>
    public ValueTask<CreateTopicsResponse> CreateTopicsAsync(CreateTopicsRequest request,
        CancellationToken cancellation) =>
        RunAsync(
            state => TopicCreation.Create(state, request, _collisions),
            (e, m) => new()
            {
                Topics = request.Topics.ConvertAll(t =>
                TopicCreation.Failed(t.Name, e, m))
            }, cancellation);

    /// <inheritdoc/>
    public ValueTask<DeleteTopicsResponse> DeleteTopicsAsync(DeleteTopicsRequest request,
        CancellationToken cancellation) =>
        RunAsync(
            state => TopicChanges.Delete(state, request),
            (e, m) => new()
            {
                Responses = TopicChanges.Asked(request).ConvertAll(t =>
                TopicChanges.Deleted(t.Name, t.Id, e, m))
            },
            cancellation);

    /// <inheritdoc/>
    public ValueTask<CreatePartitionsResponse> CreatePartitionsAsync(
        CreatePartitionsRequest request, CancellationToken cancellation) => RunAsync(
            state => TopicChanges.CreatePartitions(state, request),
            (e, m) => new()
            {
                Results = request.Topics.ConvertAll(t => new CreatePartitionsResponse.CreatePartitionsTopicResult
                {
                    Name = t.Name,
                    ErrorCode = e,
                    ErrorMessage = m,
                }),
            },
            cancellation);

    /// <inheritdoc/>
    public ValueTask<AlterConfigsResponse> AlterConfigsAsync(AlterConfigsRequest request,
        CancellationToken cancellation) =>
        RunAsync(
            state => ConfigChanges.AlterWhole(state, request),
            (e, m) => new()
            {
                Responses = request.Resources.ConvertAll(r => new AlterConfigsResponse.AlterConfigsResourceResponse
                {
                    ErrorCode = e,
                    ErrorMessage = m,
                    ResourceType = r.ResourceType,
                    ResourceName = r.ResourceName,
                }),
            },
            cancellation);

    /// <inheritdoc/>
    public ValueTask<IncrementalAlterConfigsResponse> IncrementalAlterConfigsAsync(
        IncrementalAlterConfigsRequest request, CancellationToken cancellation) => RunAsync(
            state => ConfigChanges.AlterIncrementally(state, request),
            (e, m) => new()
            {
                Responses = request.Resources.ConvertAll(r =>
                    new IncrementalAlterConfigsResponse.AlterConfigsResourceResponse
                    {
                        ErrorCode = e,
                        ErrorMessage = m,
                        ResourceType = r.ResourceType,
                        ResourceName = r.ResourceName,
                    }),
            },
            cancellation);

    /// <inheritdoc/>
    public ValueTask<ElectLeadersResponse> ElectLeadersAsync(
        ElectLeadersRequest request, short requestVersion, CancellationToken cancellation) => RunAsync(
            state => PartitionChanges.Elect(state, request, requestVersion), (e, _) =>
                new() { ErrorCode = e }, cancellation);

    /// <inheritdoc/>
    public ValueTask<AlterPartitionReassignmentsResponse> AlterPartitionReassignmentsAsync(
        AlterPartitionReassignmentsRequest request, CancellationToken cancellation) => RunAsync(
            state => PartitionChanges.Reassign(state, request),
            (e, m) => new()
            {
                ErrorCode = e,
                ErrorMessage = m,
                AllowReplicationFactorChange = request.AllowReplicationFactorChange,
            },
            cancellation);

    /// <inheritdoc/>
    public ValueTask<ListPartitionReassignmentsResponse> ListPartitionReassignmentsAsync(
        ListPartitionReassignmentsRequest request, CancellationToken cancellation) => RunAsync(
            state => PartitionChanges.ListReassignments(state, request),
            (e, m) => new() { ErrorCode = e, ErrorMessage = m }, cancellation);

    /// <inheritdoc/>
    public ValueTask<UpdateFeaturesResponse> UpdateFeaturesAsync(
        UpdateFeaturesRequest request, short requestVersion, CancellationToken cancellation) => RunAsync(
            state => FeatureChanges.Update(state, request, _log.DescribeQuorum().KRaftVersion),
            (e, m) => new() { ErrorCode = e, ErrorMessage = m }, cancellation);

    /// <inheritdoc/>
    public ValueTask<AllocateProducerIdsResponse> AllocateProducerIdsAsync(
        AllocateProducerIdsRequest request, CancellationToken cancellation) => RunAsync(
            state => NodeChanges.AllocateProducerIds(state, request), (e, _) => new() { ErrorCode = e }, cancellation);

    /// <inheritdoc/>
    public ValueTask<UnregisterBrokerResponse> UnregisterBrokerAsync(
        UnregisterBrokerRequest request, CancellationToken cancellation) => RunAsync(
            state => NodeChanges.Unregister(state, request), (e, m) =>
                new() { ErrorCode = e, ErrorMessage = m }, cancellation);

    /// <inheritdoc/>
    public ValueTask<AlterPartitionResponse> AlterPartitionAsync(
        AlterPartitionRequest request, CancellationToken cancellation) => RunAsync(
            state => PartitionChanges.AlterPartition(state, request), (e, _) => new() { ErrorCode = e }, cancellation);

    /// <inheritdoc/>
    public ValueTask<AssignReplicasToDirsResponse> AssignReplicasToDirsAsync(
        AssignReplicasToDirsRequest request, CancellationToken cancellation) => RunAsync(
            state => DirectoryChanges.Assign(state, request), (e, _) => new() { ErrorCode = e }, cancellation);

    /// <inheritdoc/>
    public async ValueTask FailDirectoriesAsync(
        int brokerId, long brokerEpoch, IReadOnlyCollection<Uuid> directories, CancellationToken cancellation) =>
        await ChangeAsync(
            state => DirectoryChanges.Fail(state, brokerId, brokerEpoch, directories), cancellation);

    /// <inheritdoc/>
    public async ValueTask CordonDirectoriesAsync(
        int brokerId, long brokerEpoch, IReadOnlyCollection<Uuid> directories, CancellationToken cancellation) =>
        await ChangeAsync(
            state => DirectoryChanges.Cordon(state, brokerId, brokerEpoch, directories), cancellation);

    /// <inheritdoc/>
    public ValueTask<DescribeQuorumResponse> DescribeQuorumAsync(
        DescribeQuorumRequest request, CancellationToken cancellation) =>
        ValueTask.FromResult(NodeChanges.DescribeQuorum(_log.Image, _log.DescribeQuorum(), request));

    /// <inheritdoc/>
    public async ValueTask<long> RegisterBrokerAsync(
        BrokerRegistration broker, bool cleanShutdown, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(broker);
        long epoch = -1;
        await ChangeAsync(state => NodeChanges.Register(state, broker, epoch = _log.NextOffset), cancellation);
        await ChangeAsync(state => NodeChanges.Unfence(state, broker.Id, epoch, cleanShutdown), cancellation);
        return epoch;
    }

    /// <inheritdoc/>
    public async ValueTask BeginControlledShutdownAsync(int brokerId, long brokerEpoch,
        CancellationToken cancellation) =>
        await ChangeAsync(state => NodeChanges.BeginShutdown(state, brokerId, brokerEpoch), cancellation);

    /// <summary>Does what is waiting, then stops.</summary>
    public async ValueTask DisposeAsync()
    {
        _waiting.Writer.TryComplete();
        await _loop;
    }

    private async ValueTask<T> RunAsync<T>(
        Func<ControlState, Change<T>> change, Func<ErrorCode, string, T> failed, CancellationToken cancellation)
    {
        var operation = new Operation<T>(this, change, failed);
        try
        {
            await _waiting.Writer.WriteAsync(operation, cancellation);
        }
        catch (ChannelClosedException)
        {
            return failed(ErrorCode.NotController, Stopped);
        }

        return await operation.Task.WaitAsync(cancellation);
    }

    /// <summary>A change without an answer: a failure is thrown.</summary>
    private async Task ChangeAsync(Func<ControlState, List<MetadataRecord>> change, CancellationToken cancellation)
    {
        var failure = await RunAsync(
            state =>
            {
                try
                {
                    return new Change<ControllerException?>(null, change(state));
                }
                catch (ControllerException e)
                {
                    return Change<ControllerException?>.Nothing(e);
                }
            },
            (e, m) => new ControllerException(e, m), cancellation);
        if (failure is not null)
            throw failure;
    }

    private async Task RunAsync()
    {
        var running = new List<IOperation>();
        while (await _waiting.Reader.WaitToReadAsync())
        {
            running.Clear();
            while (running.Count < MaxPerFlush && _waiting.Reader.TryRead(out var operation))
            {
                running.Add(operation);
                if (_failure is null)
                    Run(operation);
            }

            if (_failure is null)
                await CommitAsync();
            foreach (var operation in running)
            {
                if (_failure is { } failure)
                    operation.Fail(ErrorCode.KafkaStorageError, $"{StorageFailed} {failure.Message}");
                else
                    operation.Complete();
            }
        }
    }

    private void Run(IOperation operation)
    {
        try
        {
            operation.Run();
        }
        catch (StorageException e)
        {
            Fail(e);
        }
        catch (Exception e)
        {
            // Nothing was appended: the records are checked against the image before the first byte is written.
            _logger.LogError(e, "The controller failed on a request.");
            operation.Fail(ErrorCode.UnknownServerError, "The controller failed on this request; see its log.");
        }
    }

    private async Task CommitAsync()
    {
        try
        {
            await _log.CommitAsync();
        }
        catch (StorageException e)
        {
            Fail(e);
        }
    }

    // What is on disk is not known any more, so nothing may be promised on top of it until a restart has replayed it.
    private void Fail(StorageException exception)
    {
        _failure = exception;
        _logger.LogCritical(exception, "The metadata log cannot be written; no change is accepted any more.");
    }

    private void Append(IReadOnlyList<MetadataRecord> records)
    {
        if (records.Count == 0)
            return;
        var before = _log.PendingImage;
        var delta = _log.AppendChange(records);
        _collisions.Apply(new MetadataUpdate(before, _log.PendingImage, delta));
    }

    private sealed class Operation<T>(
        LocalController controller, Func<ControlState, Change<T>> change, Func<ErrorCode, string, T> failed)
            : IOperation
    {
        private readonly TaskCompletionSource<T> _answer = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private T? _response;

        public Task<T> Task => _answer.Task;

        public void Run()
        {
            var options = controller._options;
            var state = new ControlState(controller._log.PendingImage, options.StaticConfigs, options.NodeId,
                options.NewUuid);
            var (response, records) = change(state);
            controller.Append(records);
            _response = response;
        }

        public void Complete() => _answer.TrySetResult(_response!);

        public void Fail(ErrorCode error, string message) => _answer.TrySetResult(failed(error, message));
    }
}
