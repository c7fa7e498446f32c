namespace KBroker.Protocol.Messages;

/// <summary>A generated message: knows its versions and how to write itself in each of them.</summary>
public interface IMessage
{
    /// <summary>The first version of the message.</summary>
    short LowestVersion { get; }

    /// <summary>The last version of the message.</summary>
    short HighestVersion { get; }

    /// <summary>Writes the wire form of a version. Fields the version does not have are left out.</summary>
    /// <exception cref="InvalidOperationException">
    /// A value cannot be written: null where the version does not allow it, or a string above 32767 bytes.
    /// </exception>
    /// <exception cref="ArgumentOutOfRangeException">There is no such version.</exception>
    void Write(ProtocolWriter w, short version);
}

/// <summary>A generated message that generic code can read.</summary>
/// <typeparam name="TSelf">The message itself.</typeparam>
public interface IMessage<TSelf> : IMessage
    where TSelf : IMessage<TSelf>
{
    /// <summary>Reads the wire form of a version.</summary>
    /// <exception cref="ProtocolException">The bytes are malformed, or there is no such version.</exception>
    static abstract TSelf Read(ref ProtocolReader r, short version);
}

/// <summary>A message that belongs to an API.</summary>
public interface IApiMessage : IMessage
{
    /// <summary>The API it belongs to.</summary>
    ApiKey ApiKey { get; }
}

/// <summary>A request.</summary>
public interface IRequestMessage : IApiMessage;

/// <summary>A response.</summary>
public interface IResponseMessage : IApiMessage;

/// <summary>A key or value in an internal topic, or a record of the metadata log.</summary>
public interface IRecordMessage : IMessage
{
    /// <summary>The number of the record type in its log.</summary>
    short RecordType { get; }
}
