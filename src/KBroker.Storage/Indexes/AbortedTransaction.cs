namespace KBroker.Storage;

/// <summary>A transaction that was aborted.</summary>
/// <param name="ProducerId">Whose.</param>
/// <param name="FirstOffset">Offset of its first record.</param>
/// <param name="LastOffset">Offset of the abort marker.</param>
/// <param name="LastStableOffset">The last stable offset when the marker was written.</param>
public readonly record struct AbortedTransaction(
    long ProducerId, long FirstOffset, long LastOffset, long LastStableOffset);
