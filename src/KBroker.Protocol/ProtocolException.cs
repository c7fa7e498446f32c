namespace KBroker.Protocol;

/// <summary>
/// Bytes that came from outside do not follow the protocol. The connection, or the log, they came from cannot be read
/// further, because where the next field starts is not known any more.
/// </summary>
/// <param name="message">Names the rule that was broken.</param>
public sealed class ProtocolException(string message) : Exception(message)
{
    internal static ProtocolException EndOfInput(long needed, long remaining) =>
        new($"{needed} more bytes are needed where {remaining} are left.");

    internal static ProtocolException NoSuchVersion(string message, short version) =>
        new($"{message} has no version {version}.");

    internal static ProtocolException NoSuchApi(ApiKey key) => new($"There is no API with key {(short)key}.");
}
