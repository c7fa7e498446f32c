using KBroker.Protocol.Messages;

namespace KBroker.Server.Dispatch;

/// <summary>What the network layer hands each request to.</summary>
public interface IRequestDispatcher
{
    /// <summary>
    /// Reads the header from <see cref="RequestContext.Body"/>, fills in the context, and runs the handler's ordered
    /// half. Called in request order, one request of a connection at a time.
    /// </summary>
    /// <param name="context">The request; its body is the whole frame.</param>
    /// <returns>The answer, null for none; not yet complete while the background half runs.</returns>
    /// <exception cref="InvalidRequestException">The request cannot be answered: the connection is closed.</exception>
    ValueTask<IResponseMessage?> Dispatch(RequestContext context);

    /// <summary>Logs what a handler threw and makes an answer of it.</summary>
    /// <param name="context">The request.</param>
    /// <param name="exception">What was thrown, by <see cref="Dispatch"/> or by the task.</param>
    /// <returns>An error answer; null when the API has none, and the connection must be closed.</returns>
    IResponseMessage? Fail(RequestContext context, Exception exception);
}
