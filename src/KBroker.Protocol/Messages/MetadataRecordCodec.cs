namespace KBroker.Protocol.Messages;

/// <summary>
/// The value of a record in the metadata log: unsigned varint 1 (version of this frame), unsigned varint record type,
/// unsigned varint record version, then the message. For example <c>01 0c 00 ...</c> is FeatureLevelRecord (12)
/// version 0. The record's key is null.
/// </summary>
public static class MetadataRecordCodec
{
    private const uint FrameVersion = 1;

    /// <summary>The value that stores a record in one of its versions.</summary>
    /// <param name="record">A message of the metadata catalog, such as <see cref="TopicRecord"/>.</param>
    /// <param name="version">One of its versions.</param>
    /// <exception cref="ArgumentException">The message is not a record of a log.</exception>
    public static byte[] Encode(IMessage record, short version)
    {
        ArgumentNullException.ThrowIfNull(record);
        if (record is not IRecordMessage typed)
            throw new ArgumentException($"{record.GetType().Name} is not a record of a log.", nameof(record));
        using var writer = new ProtocolWriter();
        writer.WriteUnsignedVarint(FrameVersion);
        writer.WriteUnsignedVarint((uint)typed.RecordType);
        writer.WriteUnsignedVarint((uint)version);
        record.Write(writer, version);
        return writer.ToArray();
    }

    /// <summary>The record that a value stores.</summary>
    /// <exception cref="ProtocolException">
    /// The frame or the message is malformed, or its type or version is not known to this build.
    /// </exception>
    public static IMessage Decode(ReadOnlyMemory<byte> value) => Decode(value, out _);

    /// <summary>The record that a value stores, and the version it is stored in.</summary>
    /// <exception cref="ProtocolException">
    /// The frame or the message is malformed, or its type or version is not known to this build.
    /// </exception>
    public static IMessage Decode(ReadOnlyMemory<byte> value, out short version)
    {
        var reader = new ProtocolReader(value);
        uint frame = reader.ReadUnsignedVarint();
        if (frame != FrameVersion) throw new ProtocolException($"A metadata record has frame version {frame}.");
        uint type = reader.ReadUnsignedVarint();
        uint number = reader.ReadUnsignedVarint();
        if (type > (uint)short.MaxValue || number > (uint)short.MaxValue)
            throw new ProtocolException($"A metadata record has type {type} and version {number}.");
        version = (short)number;
        var record = RecordMessageReader.ReadMetadataRecord((short)type, version, ref reader)
            ?? throw new ProtocolException($"There is no metadata record type {type}.");
        reader.EnsureEnd();
        return record;
    }
}
