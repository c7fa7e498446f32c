using KBroker.Delivery.Delay;
using KBroker.Server.Dispatch;
using KBroker.Server.Fetch;
using KBroker.Server.Handlers;
using KBroker.Server.Produce;
using KBroker.Server.Security;
using KBroker.Server.Topics;
using Microsoft.Extensions.Logging;

namespace KBroker.Server.Hosting;

/// <summary>
/// Every handler of the broker. An API is advertised when its handler stands here, and not otherwise; KBroker's
/// own are served, and never advertised.
/// </summary>
internal static class HandlerSet
{
    public static IReadOnlyList<IRequestHandler> Create(
        BrokerState state,
        BrokerCoordination coordination,
        DelayService delays,
        BrokerOptions options,
        IAuthorizer authorizer,
        ILoggerFactory loggers,
        TimeProvider time)
    {
        var configs = options.Configs;
        var metadata = state.Metadata;
        var controller = state.Controller;
        var partitions = state.Partitions;
        var sessions = new FetchSessionCache(
            configs.GetInt("max.incremental.fetch.session.cache.slots"), time, new Random());
        var creator = new AutoTopicCreator(
            controller, metadata, state.Configs, loggers.CreateLogger<AutoTopicCreator>());
        var transactions = coordination.Transactions.Api;
        var verifier = new TransactionVerifier(transactions, state.Configs);
        return
        [
            new ApiVersionsHandler(metadata, options.SupportedFeatures),
            new MetadataHandler(metadata, creator, authorizer),
            new DescribeTopicPartitionsHandler(
                metadata, configs.GetInt("max.request.partition.size.limit"), authorizer),
            new ProduceHandler(
                partitions,
                metadata,
                new AcknowledgementWaiter(state.Delayed.Produce),
                verifier,
                authorizer),
            new FetchHandler(
                new FetchPlanner(partitions, metadata),
                sessions,
                state.Delayed.Fetch,
                configs.GetInt("fetch.max.bytes"),
                metadata),
            new ListOffsetsHandler(partitions, authorizer),
            new OffsetForLeaderEpochHandler(partitions, authorizer),
            new DescribeProducersHandler(partitions, authorizer),
            new DeleteRecordsHandler(partitions, authorizer),
            new InitProducerIdHandler(coordination.ProducerIds, transactions, authorizer),
            new AddPartitionsToTxnHandler(transactions, metadata, authorizer),
            new AddOffsetsToTxnHandler(transactions, coordination.Groups, creator, authorizer),
            new TxnOffsetCommitHandler(coordination.Groups, partitions, verifier, metadata, authorizer),
            new EndTxnHandler(transactions, authorizer),
            new WriteTxnMarkersHandler(coordination.Transactions.Markers, authorizer),
            new DescribeTransactionsHandler(transactions, authorizer),
            new ListTransactionsHandler(transactions, authorizer),
            new FindCoordinatorHandler(
                metadata, coordination.Groups, coordination.Transactions, creator, authorizer),
            new OffsetCommitHandler(coordination.Groups.Offsets, metadata, authorizer),
            new OffsetFetchHandler(coordination.Groups.Offsets, metadata, authorizer),
            new OffsetDeleteHandler(coordination.Groups.Offsets, metadata, authorizer),
            new JoinGroupHandler(coordination.Groups.Classic, authorizer),
            new SyncGroupHandler(coordination.Groups.Classic, authorizer),
            new HeartbeatHandler(coordination.Groups.Classic, authorizer),
            new LeaveGroupHandler(coordination.Groups.Classic, authorizer),
            new DescribeGroupsHandler(coordination.Groups.Administration, authorizer),
            new ListGroupsHandler(coordination.Groups.Administration, authorizer),
            new DeleteGroupsHandler(coordination.Groups.Administration, authorizer),
            new ConsumerGroupHeartbeatHandler(coordination.Groups.Consumer, metadata, authorizer),
            new ConsumerGroupDescribeHandler(coordination.Groups.Consumer, metadata, authorizer),
            new CreateTopicsHandler(controller, authorizer),
            new DeleteTopicsHandler(controller, metadata, authorizer),
            new CreatePartitionsHandler(controller, authorizer),
            new DescribeConfigsHandler(state.Configs, metadata, options.NodeId, authorizer),
            new AlterConfigsHandler(controller, authorizer),
            new IncrementalAlterConfigsHandler(controller, authorizer),
            new ListConfigResourcesHandler(metadata, authorizer),
            new DescribeClusterHandler(metadata, authorizer),
            new DescribeLogDirsHandler(state.Logs, partitions, authorizer),
            new AlterReplicaLogDirsHandler(state.Moves, metadata, authorizer),
            new DescribeQuorumHandler(controller, authorizer),
            new UpdateFeaturesHandler(controller, authorizer),
            new ElectLeadersHandler(controller, authorizer),
            new ListPartitionReassignmentsHandler(controller, authorizer),
            new AlterPartitionReassignmentsHandler(controller, authorizer),
            new AssignReplicasToDirsHandler(controller, authorizer),
            new ListPendingRecordsHandler(delays, partitions, authorizer, time),
        ];
    }
}
