using KBroker.Protocol;

namespace KBroker.Coordination.Runtime;

/// <summary>
/// A request to a coordinator that is answered with an error. Thrown by a step before it appends anything; hot paths
/// (heartbeats during a rebalance) put the error into their answer instead.
/// </summary>
public sealed class CoordinatorException : Exception
{
    /// <summary>Refuses a request.</summary>
    /// <param name="error">What is answered.</param>
    /// <param name="message">Why, for the client; null for the code's own meaning.</param>
    public CoordinatorException(ErrorCode error, string? message = null)
        : base(message ?? ErrorCodes.Name(error))
    {
        Error = error;
        ClientMessage = message;
    }

    /// <summary>The error code of the answer.</summary>
    public ErrorCode Error { get; }

    /// <summary>The text of the answer, or null.</summary>
    public string? ClientMessage { get; }
}
