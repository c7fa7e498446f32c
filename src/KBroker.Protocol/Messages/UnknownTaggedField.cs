namespace KBroker.Protocol.Messages;

/// <summary>A tagged field that this build does not know. It is kept, and written again.</summary>
/// <param name="Tag">Its number.</param>
/// <param name="Data">Its bytes, a copy of what was read.</param>
public readonly record struct UnknownTaggedField(int Tag, ReadOnlyMemory<byte> Data);
