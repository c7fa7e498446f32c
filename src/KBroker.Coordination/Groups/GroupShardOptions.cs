using KBroker.Cluster.Configuration;
using Microsoft.Extensions.Logging;

namespace KBroker.Coordination.Groups;

/// <summary>What the groups of a shard share with the rest of the broker.</summary>
internal sealed record GroupShardOptions
{
    /// <summary>The configs in force: <see cref="ConfigView.Broker"/> and, by group,
    /// <see cref="ConfigView.OfGroup"/>.</summary>
    public required ConfigView Configs { get; init; }

    /// <summary>Makes the random part of member ids: the text of a new random UUID (RFC 9562, version 4).</summary>
    public required Func<string> NewUuid { get; init; }

    /// <summary>Where rebalances and evictions are told.</summary>
    public required ILogger Logger { get; init; }
}
