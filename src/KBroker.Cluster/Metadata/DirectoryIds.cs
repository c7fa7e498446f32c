using System.Collections.Immutable;
using KBroker.Protocol;

namespace KBroker.Cluster.Metadata;

/// <summary>
/// The directory ids of partition records that name no directory (KIP-858). They are in metadata logs, so the numbers
/// never change.
/// </summary>
public static class DirectoryIds
{
    private const ulong FirstOrdinary = 100;

    /// <summary>The broker has not said yet where the replica lies; it was there before brokers said so.</summary>
    public static readonly Uuid Migrating = new(0, 0);

    /// <summary>A new replica, for which the broker has not chosen a directory yet.</summary>
    public static readonly Uuid Unassigned = new(0, 1);

    /// <summary>Some directory that is offline; the broker does not know which.</summary>
    public static readonly Uuid Lost = new(0, 2);

    /// <summary>Whether an id is none of a real directory.</summary>
    /// <param name="id">The id.</param>
    /// <returns>True for the first hundred.</returns>
    public static bool IsReserved(Uuid id) => id.MostSignificant == 0 && (ulong)id.LeastSignificant < FirstOrdinary;

    /// <summary>Whether a replica in this directory can be served.</summary>
    /// <param name="id">The directory that the metadata names.</param>
    /// <param name="online">The directories that the broker has registered; none where the level knows no such.</param>
    /// <returns>True, too, while nobody knows the directory.</returns>
    public static bool IsOnline(Uuid id, ImmutableArray<Uuid> online) =>
        id == Migrating || id == Unassigned || (id != Lost && (online.IsEmpty || online.Contains(id)));
}
