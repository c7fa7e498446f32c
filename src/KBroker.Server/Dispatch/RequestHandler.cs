using System.Reflection;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Server.Dispatch;

/// <summary>
/// Base of handlers: decodes the request, and makes error answers of responses with a top-level error.
/// </summary>
/// <typeparam name="TRequest">The request.</typeparam>
/// <typeparam name="TResponse">Its answer.</typeparam>
public abstract class RequestHandler<TRequest, TResponse> : IRequestHandler
    where TRequest : class, IRequestMessage, IMessage<TRequest>
    where TResponse : class, IResponseMessage, new()
{
    private readonly Action<TResponse, ErrorCode>? _setError =
        Property("ErrorCode", typeof(ErrorCode))?.CreateDelegate<Action<TResponse, ErrorCode>>();

    private readonly Action<TResponse, string?>? _setMessage =
        Property("ErrorMessage", typeof(string))?.CreateDelegate<Action<TResponse, string?>>();

    /// <inheritdoc/>
    public abstract ApiKey ApiKey { get; }

    /// <inheritdoc/>
    public virtual bool RunsAlone => false;

    /// <inheritdoc/>
    public ValueTask<IResponseMessage?> HandleAsync(RequestContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        TRequest request;
        try
        {
            var reader = new ProtocolReader(context.Body);
            request = TRequest.Read(ref reader, context.ApiVersion);
        }
        catch (ProtocolException e)
        {
            throw new InvalidRequestException(
                $"malformed {context.ApiKey} request version {context.ApiVersion}: {e.Message}", e);
        }
        context.Request = request;
        return HandleAsync(request, context);
    }

    /// <inheritdoc/>
    /// <remarks>
    /// The base fills in the top-level error code, and the message where there is one. Override it where the answer
    /// carries errors by topic or partition.
    /// </remarks>
    public virtual IResponseMessage? CreateErrorResponse(RequestContext context, ErrorCode error, string? message)
    {
        if (_setError is null)
            return null;
        var response = new TResponse();
        _setError(response, error);
        _setMessage?.Invoke(response, message);
        return response;
    }

    /// <summary>
    /// Serves a request. Up to the first wait it is the ordered half: only there may the request's records be touched.
    /// Complete what is waited for so that continuations do not run on the completing thread
    /// (<see cref="TaskCreationOptions.RunContinuationsAsynchronously"/>): the answer is sent from the continuation.
    /// </summary>
    /// <param name="request">The request.</param>
    /// <param name="context">Header and connection.</param>
    /// <returns>The answer; null when the client wants none.</returns>
    protected abstract ValueTask<IResponseMessage?> HandleAsync(TRequest request, RequestContext context);

    /// <summary>The decoded request of a context, for <see cref="CreateErrorResponse"/>.</summary>
    /// <param name="context">The request's context.</param>
    /// <returns>The request; null when it was not decoded.</returns>
    protected static TRequest? RequestOf(RequestContext context) => context?.Request as TRequest;

    private static MethodInfo? Property(string name, Type type) =>
        typeof(TResponse).GetProperty(name) is { } property && property.PropertyType == type
            ? property.SetMethod
            : null;
}
