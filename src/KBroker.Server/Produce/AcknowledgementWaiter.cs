using KBroker.Cluster.Replication;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Storage;
using KBroker.Timing;

namespace KBroker.Server.Produce;

/// <summary>An append that waits to be acknowledged.</summary>
/// <param name="Partition">Where it went.</param>
/// <param name="NextOffset">The offset after its last record.</param>
/// <param name="Answer">Its part of the response; an error found while waiting is written there.</param>
public readonly record struct PendingAppend(
    Partition Partition, long NextOffset, ProduceResponse.PartitionProduceResponse Answer);

/// <summary>
/// The background half of Produce with acks=all: an answer goes out when every in-sync replica has the records and they
/// are on stable storage. The flush, shared with everybody who waits, runs while the replicas fetch.
/// </summary>
/// <param name="purgatory">Operations that wait for a high watermark.</param>
public sealed class AcknowledgementWaiter(Purgatory<TopicPartition> purgatory)
{
    /// <summary>Waits, then answers.</summary>
    /// <param name="response">The response, complete but for what goes wrong now.</param>
    /// <param name="pending">The appends to wait for; at least one.</param>
    /// <param name="timeoutMs">How long the client lets the replicas take, in milliseconds.</param>
    /// <returns>The response.</returns>
    public async ValueTask<IResponseMessage?> WaitAsync(
        ProduceResponse response, List<PendingAppend> pending, int timeoutMs)
    {
        var flushes = pending.Count == 1 ? null : new ValueTask[pending.Count];
        var single = flushes is null ? pending[0].Partition.WaitDurableAsync(pending[0].NextOffset) : default;
        for (var i = 0; i < (flushes?.Length ?? 0); i++)
            flushes![i] = pending[i].Partition.WaitDurableAsync(pending[i].NextOffset);

        if (!pending.TrueForAll(static p => p.Partition.IsReplicated(p.NextOffset)))
            await WaitReplicatedAsync(pending, timeoutMs).ConfigureAwait(false);

        for (var i = 0; i < pending.Count; i++)
        {
            try
            {
                await (flushes is null ? single : flushes[i]).ConfigureAwait(false);
            }
            catch (StorageException failure)
            {
                // The log of a topic deleted meanwhile is closed: the disk is not to blame.
                if (pending[i].Partition.IsLeader || pending[i].Partition.IsOffline)
                    Fail(pending[i].Answer, ErrorCode.KafkaStorageError, failure.Message);
                else
                    Fail(pending[i].Answer, ErrorCode.NotLeaderOrFollower, null);
            }
        }

        return response;
    }

    private static void Fail(ProduceResponse.PartitionProduceResponse answer, ErrorCode error, string? message)
    {
        answer.ErrorCode = error;
        answer.ErrorMessage = message;
        answer.BaseOffset = -1;
        answer.LogAppendTimeMs = -1;
    }

    private async ValueTask WaitReplicatedAsync(List<PendingAppend> pending, int timeoutMs)
    {
        var keys = new TopicPartition[pending.Count];
        for (var i = 0; i < keys.Length; i++)
            keys[i] = pending[i].Partition.TopicPartition;
        await purgatory.WaitAsync(new DelayedProduce(pending, timeoutMs), keys).ConfigureAwait(false);
        foreach (var append in pending)
        {
            if (!append.Partition.IsLeader)
                Fail(append.Answer, append.Partition.CheckLeader(-1), null);
            else if (!append.Partition.IsReplicated(append.NextOffset))
                Fail(append.Answer, ErrorCode.RequestTimedOut, null);
            else if (!append.Partition.HasEnoughInSyncReplicas)
                Fail(append.Answer, ErrorCode.NotEnoughReplicasAfterAppend, null);
        }
    }

    private sealed class DelayedProduce(List<PendingAppend> pending, int timeoutMs)
        : AsyncDelayedOperation<bool>(timeoutMs)
    {
        public override bool TryComplete() =>
            pending.TrueForAll(static p => !p.Partition.IsLeader || p.Partition.IsReplicated(p.NextOffset))
            && ForceComplete();

        protected override bool CreateResult() => true;
    }
}
