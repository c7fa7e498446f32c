using KBroker.Protocol;

namespace KBroker.Server.Dispatch;

/// <summary>Ends a handler with an error for the client; it is an answer, not a fault of the broker.</summary>
public sealed class RequestFailedException : Exception
{
    /// <summary>Creates the error.</summary>
    /// <param name="error">What the client is told.</param>
    /// <param name="message">A text for the client, where the answer has one; names the value and the rule.</param>
    public RequestFailedException(ErrorCode error, string? message = null)
        : base(message ?? error.ToString())
    {
        Error = error;
        ClientMessage = message;
    }

    /// <summary>What the client is told.</summary>
    public ErrorCode Error { get; }

    /// <summary>The text for the client; null for none.</summary>
    public string? ClientMessage { get; }
}
