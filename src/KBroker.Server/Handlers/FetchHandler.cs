using KBroker.Cluster.Metadata;
using KBroker.Cluster.Replication;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Fetch;
using KBroker.Storage;
using KBroker.Timing;

namespace KBroker.Server.Handlers;

/// <summary>
/// Fetch: record batches from partitions, as file regions that the network sends without reading them. Its ordered half
/// finds the session and plans; its background half is the long poll.
/// </summary>
/// <remarks>
/// Sessions (KIP-227) from version 7, leader epochs from 9, topic ids from 13. The answer waits until it has
/// <c>MinBytes</c> or <c>MaxWaitMs</c> is over; an error in any partition ends the wait. <c>fetch.max.bytes</c> bounds
/// the answer, except that the first batch found is always given whole. There is no other replica to prefer, and no
/// aborted transaction as long as there are no transactions.
/// </remarks>
/// <param name="planner">Plans answers.</param>
/// <param name="sessions">The fetch sessions.</param>
/// <param name="purgatory">The long polls.</param>
/// <param name="fetchMaxBytes"><c>fetch.max.bytes</c>: the most bytes of an answer.</param>
/// <param name="metadata">The metadata, for where a leader is.</param>
public sealed class FetchHandler(
    FetchPlanner planner,
    FetchSessionCache sessions,
    Purgatory<TopicPartition> purgatory,
    int fetchMaxBytes,
    IMetadataLog metadata) : RequestHandler<FetchRequest, FetchResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.Fetch;

    /// <inheritdoc/>
    protected override ValueTask<IResponseMessage?> HandleAsync(FetchRequest request, RequestContext context)
    {
        var fetch = FetchContext.Open(request, context.ApiVersion, sessions);
        if (fetch.Error != ErrorCode.None)
            return Done(new FetchResponse { ErrorCode = fetch.Error });

        var limits = LimitsOf(request);
        var plan = planner.Plan(fetch, limits);
        if (request.MaxWaitMs <= 0
            || (fetch.Count == 0 && fetch.Session is null)
            || plan.MustAnswerNow
            || plan.Bytes >= limits.MinBytes)
            return Done(Finish(fetch, plan, context.ListenerName));

        plan.Release();
        return WaitAsync(fetch, limits, request.MaxWaitMs, context.ListenerName, context.Closing);
    }

    private static ValueTask<IResponseMessage?> Done(IResponseMessage response) =>
        ValueTask.FromResult<IResponseMessage?>(response);

    private FetchLimits LimitsOf(FetchRequest request)
    {
        var isFollower = request.ReplicaId >= 0 || request.ReplicaState is { ReplicaId: >= 0 };
        var maxBytes = Math.Min(Math.Max(0, request.MaxBytes), fetchMaxBytes);
        var limit = isFollower ? ReadLimit.LogEnd
            : request.IsolationLevel == (sbyte)IsolationLevel.ReadCommitted ? ReadLimit.LastStableOffset
            : ReadLimit.HighWatermark;
        return new FetchLimits(maxBytes, Math.Min(Math.Max(0, request.MinBytes), maxBytes), limit);
    }

    private async ValueTask<IResponseMessage?> WaitAsync(
        FetchContext fetch, FetchLimits limits, int maxWaitMs, string listenerName, CancellationToken closing)
    {
        var operation = new DelayedFetch(planner, fetch, limits, maxWaitMs);
        await using var onClose = closing.UnsafeRegister(
            static state => ((DelayedFetch)state!).ForceComplete(), operation).ConfigureAwait(false);
        if (!fetch.IsIncremental)
        {
            var full = await purgatory.WaitAsync(operation, planner.KeysOf(fetch.Partitions)).ConfigureAwait(false);
            return Finish(fetch, full, listenerName);
        }

        var session = fetch.Session!;
        session.WaitIn(purgatory);
        var plan = await purgatory.WaitAsync(operation, session.WakeKey).ConfigureAwait(false);
        session.WaitIn(null);
        return Finish(fetch, plan, listenerName);
    }

    private FetchResponse Finish(FetchContext fetch, FetchPlan plan, string listenerName)
    {
        var response = fetch.Finish(plan.Answers);
        if (plan.MustAnswerNow)
            AddLeaders(response, listenerName);
        return response;
    }

    /// <summary>Says where the leader is, for partitions led elsewhere or at another epoch (KIP-951).</summary>
    private void AddLeaders(FetchResponse response, string listenerName)
    {
        var image = metadata.Image;
        foreach (var topic in response.Responses)
        {
            foreach (var answer in topic.Partitions)
            {
                if (answer.ErrorCode is not (ErrorCode.NotLeaderOrFollower or ErrorCode.FencedLeaderEpoch))
                    continue;
                var found = topic.TopicId == Uuid.Zero
                    ? image.Topics.Find(topic.Topic)
                    : image.Topics.Find(topic.TopicId);
                if (found?.Partition(answer.PartitionIndex) is not { } partition)
                    continue;
                answer.CurrentLeader = new FetchResponse.LeaderIdAndEpoch
                {
                    LeaderId = partition.Leader,
                    LeaderEpoch = partition.LeaderEpoch,
                };
                AddEndpoint(response, image, partition.Leader, listenerName);
            }
        }
    }

    private static void AddEndpoint(FetchResponse response, MetadataImage image, int leaderId, string listenerName)
    {
        if (response.NodeEndpoints.Exists(node => node.NodeId == leaderId)
            || !image.Brokers.TryGetValue(leaderId, out var broker)
            || broker.Endpoint(listenerName) is not { } endpoint)
            return;
        response.NodeEndpoints.Add(new FetchResponse.NodeEndpoint
        {
            NodeId = broker.Id,
            Host = endpoint.Host,
            Port = endpoint.Port,
            Rack = broker.Rack,
        });
    }
}
