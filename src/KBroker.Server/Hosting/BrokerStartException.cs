namespace KBroker.Server.Hosting;

/// <summary>
/// The broker cannot start for a reason that its operator can mend: a port in use, a directory that is locked or
/// belongs to another node. The message says what and where; a stack trace would add nothing.
/// </summary>
public sealed class BrokerStartException : Exception
{
    /// <summary>Creates the exception with a message for the operator.</summary>
    public BrokerStartException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }
}
