using KBroker.Cluster.Configuration;
using Microsoft.Extensions.Logging;

namespace KBroker.Coordination.Transactions;

/// <summary>What the transactions of a shard share with the rest of the broker.</summary>
internal sealed record TransactionShardOptions
{
    /// <summary>The configs in force.</summary>
    public required ConfigView Configs { get; init; }

    /// <summary>
    /// Leader epoch of the shard's partition: markers carry it, so that those of an earlier coordinator are refused.
    /// </summary>
    public required int CoordinatorEpoch { get; init; }

    /// <summary>
    /// Called once a decision is durable, on any thread: the markers are to be written, and
    /// <see cref="TransactionShard.OnMarkersWritten"/> to be run then.
    /// </summary>
    public required Action<MarkerWork> WriteMarkers { get; init; }

    /// <summary>Where aborts after a timeout are told.</summary>
    public required ILogger Logger { get; init; }
}
