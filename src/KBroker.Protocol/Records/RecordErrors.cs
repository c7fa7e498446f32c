namespace KBroker.Protocol.Records;

/// <summary>What is wrong with record data; each value is the Kafka error code that a client is to see.</summary>
public enum RecordErrorKind : short
{
    /// <summary>CORRUPT_MESSAGE: the CRC or the lengths of a batch do not hold; the sender may retry.</summary>
    CorruptMessage = 2,

    /// <summary>INVALID_TIMESTAMP: a timestamp that the topic does not allow.</summary>
    InvalidTimestamp = 32,

    /// <summary>UNSUPPORTED_FOR_MESSAGE_FORMAT: the old message formats (magic 0 and 1).</summary>
    UnsupportedForMessageFormat = 43,

    /// <summary>UNSUPPORTED_COMPRESSION_TYPE: an unknown codec, or one whose library this machine lacks.</summary>
    UnsupportedCompressionType = 76,

    /// <summary>INVALID_RECORD: a batch whose content breaks a rule; retrying cannot help.</summary>
    InvalidRecord = 87,
}

/// <summary>The base of every failure that record data itself can cause.</summary>
/// <param name="kind">The error that a client is to see.</param>
/// <param name="message">Names the value and the rule.</param>
/// <param name="innerException">The cause, where another library found it.</param>
public abstract class RecordException(RecordErrorKind kind, string message, Exception? innerException)
    : Exception(message, innerException)
{
    /// <summary>The error that a client is to see; its number is Kafka's error code.</summary>
    public RecordErrorKind Kind { get; } = kind;
}

/// <summary>The bytes are damaged: a CRC, a length or a compressed stream does not hold (CORRUPT_MESSAGE).</summary>
/// <param name="message">Names the value and the rule.</param>
/// <param name="innerException">The cause, where another library found it.</param>
public sealed class CorruptRecordException(string message, Exception? innerException = null)
    : RecordException(RecordErrorKind.CorruptMessage, message, innerException);

/// <summary>The bytes are what their sender meant, but break a rule (INVALID_RECORD unless said otherwise).</summary>
/// <param name="message">Names the value and the rule.</param>
/// <param name="kind">A more special error.</param>
/// <param name="innerException">The cause, where another library found it.</param>
public sealed class InvalidRecordException(
    string message,
    RecordErrorKind kind = RecordErrorKind.InvalidRecord,
    Exception? innerException = null)
    : RecordException(kind, message, innerException);

/// <summary>The codec of a batch cannot be used on this machine (UNSUPPORTED_COMPRESSION_TYPE).</summary>
/// <param name="type">The codec.</param>
/// <param name="message">Names the missing library and the package that brings it.</param>
public sealed class CompressionCodecUnavailableException(CompressionType type, string message)
    : RecordException(RecordErrorKind.UnsupportedCompressionType, message, null)
{
    /// <summary>The codec that is missing.</summary>
    public CompressionType CompressionType { get; } = type;
}
