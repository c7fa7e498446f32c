using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Server.Dispatch;

/// <summary>
/// Serves one API, in every version. See <see cref="RequestContext"/> for the two halves of a handler. Most handlers
/// derive from <see cref="RequestHandler{TRequest, TResponse}"/>.
/// </summary>
public interface IRequestHandler
{
    /// <summary>The API that is served.</summary>
    ApiKey ApiKey { get; }

    /// <summary>
    /// Whether the connection's next request waits until this one is answered. Set it when the handler needs the
    /// request's record bytes after its first wait, or when later requests must see its effect.
    /// </summary>
    bool RunsAlone => false;

    /// <summary>Serves a request.</summary>
    /// <param name="context">The request, header read.</param>
    /// <returns>The answer; null when the client wants none.</returns>
    /// <exception cref="InvalidRequestException">The request is malformed: the connection is closed.</exception>
    /// <exception cref="RequestFailedException">Answered with this error.</exception>
    ValueTask<IResponseMessage?> HandleAsync(RequestContext context);

    /// <summary>Makes the answer to a request that failed as a whole.</summary>
    /// <param name="context">The request.</param>
    /// <param name="error">The error.</param>
    /// <param name="message">A text for the client, or null.</param>
    /// <returns>The answer; null when the API's answer has no room for it, and the connection must be closed.</returns>
    IResponseMessage? CreateErrorResponse(RequestContext context, ErrorCode error, string? message);
}
