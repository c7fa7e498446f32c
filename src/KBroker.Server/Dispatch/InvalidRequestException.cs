namespace KBroker.Server.Dispatch;

/// <summary>
/// A request that is not one: unknown API, version not served, malformed bytes. Its connection is closed, with one
/// line in the log, and nothing else is touched.
/// </summary>
public sealed class InvalidRequestException : Exception
{
    /// <summary>Creates the error.</summary>
    /// <param name="message">What is wrong, naming value and rule.</param>
    /// <param name="inner">What the decoder said.</param>
    public InvalidRequestException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}
