using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Runtime;

/// <summary>
/// One record of a coordinator's log. Key bytes: int16 record type, then the key message in its only version 0. Value
/// bytes: int16 version, then the value message; no value at all is a tombstone, which deletes what the key names.
/// </summary>
/// <param name="Key">A key of the log's catalog, such as <see cref="OffsetCommitKey"/>.</param>
/// <param name="Value">The value, or null for a tombstone. Not changed any more once it is handed over.</param>
/// <param name="ValueVersion">The version the value is written in; ignored for a tombstone.</param>
public readonly record struct CoordinatorRecord(IRecordMessage Key, IRecordMessage? Value, short ValueVersion = 0)
{
    /// <summary>The record that deletes what a key names.</summary>
    /// <param name="key">The key.</param>
    /// <returns>A tombstone.</returns>
    public static CoordinatorRecord Tombstone(IRecordMessage key) => new(key, null);
}
