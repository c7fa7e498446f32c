namespace KBroker.Cluster.Replication;

/// <summary>How far a reader may see; the numbers are on the wire (KIP-98).</summary>
public enum IsolationLevel : sbyte
{
    /// <summary>Up to the high watermark, open and aborted transactions included.</summary>
    ReadUncommitted = 0,

    /// <summary>Up to the last stable offset; the client drops aborted records.</summary>
    ReadCommitted = 1,
}
