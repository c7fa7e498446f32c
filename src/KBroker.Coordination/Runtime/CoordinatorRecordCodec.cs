using System.Buffers.Binary;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Runtime;

/// <summary>
/// The bytes of a coordinator's records. A key is int16 record type, then the key message in version 0; a value is
/// int16 version, then the value message in that version. For example <c>00 01 00 01 67 00 01 74 00 00 00 02</c> is
/// the key of the offset of group "g" in t-2.
/// </summary>
public sealed class CoordinatorRecordCodec
{
    private const short KeyVersion = 0;
    private readonly MessageReader _readKey;
    private readonly MessageReader _readValue;

    private CoordinatorRecordCodec(MessageReader readKey, MessageReader readValue)
    {
        _readKey = readKey;
        _readValue = readValue;
    }

    private delegate IRecordMessage? MessageReader(short type, short version, ref ProtocolReader reader);

    /// <summary>The records of <c>__consumer_offsets</c>.</summary>
    public static CoordinatorRecordCodec Groups { get; } =
        new(RecordMessageReader.ReadGroupKey, RecordMessageReader.ReadGroupValue);

    /// <summary>The records of <c>__transaction_state</c>.</summary>
    public static CoordinatorRecordCodec Transactions { get; } =
        new(RecordMessageReader.ReadTransactionKey, RecordMessageReader.ReadTransactionValue);

    /// <summary>Writes a key.</summary>
    /// <param name="writer">Where to.</param>
    /// <param name="key">A key message.</param>
    public static void WriteKey(ProtocolWriter writer, IRecordMessage key)
    {
        ArgumentNullException.ThrowIfNull(writer);
        ArgumentNullException.ThrowIfNull(key);
        writer.WriteInt16(key.RecordType);
        key.Write(writer, KeyVersion);
    }

    /// <summary>Writes a value.</summary>
    /// <param name="writer">Where to.</param>
    /// <param name="value">A value message.</param>
    /// <param name="version">One of its versions.</param>
    public static void WriteValue(ProtocolWriter writer, IRecordMessage value, short version)
    {
        ArgumentNullException.ThrowIfNull(writer);
        ArgumentNullException.ThrowIfNull(value);
        writer.WriteInt16(version);
        value.Write(writer, version);
    }

    /// <summary>The record type that a key begins with.</summary>
    /// <param name="key">A key.</param>
    /// <returns>The type.</returns>
    /// <exception cref="ProtocolException">The key is shorter than two bytes.</exception>
    public static short TypeOf(ReadOnlySpan<byte> key) => key.Length >= sizeof(short)
        ? BinaryPrimitives.ReadInt16BigEndian(key)
        : throw new ProtocolException($"A key of {key.Length} bytes has no record type.");

    /// <summary>Reads a key.</summary>
    /// <param name="key">Its bytes.</param>
    /// <returns>The key; null when its type is not known.</returns>
    /// <exception cref="ProtocolException">It is malformed.</exception>
    public IRecordMessage? ReadKey(ReadOnlyMemory<byte> key)
    {
        var reader = new ProtocolReader(key);
        return _readKey(reader.ReadInt16(), KeyVersion, ref reader);
    }

    /// <summary>Reads a value.</summary>
    /// <param name="type">The record type, from the key.</param>
    /// <param name="value">Its bytes.</param>
    /// <returns>The value.</returns>
    /// <exception cref="ProtocolException">It is malformed, or its version is not known.</exception>
    public IRecordMessage ReadValue(short type, ReadOnlyMemory<byte> value)
    {
        var reader = new ProtocolReader(value);
        var version = reader.ReadInt16();
        return _readValue(type, version, ref reader)
            ?? throw new ProtocolException($"There is no value of record type {type}.");
    }
}
