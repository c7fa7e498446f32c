using KBroker.Protocol;

namespace KBroker.Coordination.Runtime;

/// <summary>
/// An answer that somebody waits for. A state machine keeps it for as long as it likes (a JoinGroup waits for the
/// others to join) and gives the answer by <see cref="ICoordinatorTurn.Send{T}"/>; it is given once, later ones are
/// ignored.
/// </summary>
/// <typeparam name="T">The response.</typeparam>
public sealed class Reply<T> : IHeldReply
{
    private T? _held;
    private bool _isHeld;
    private readonly TaskCompletionSource<T> _source = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>The answer; a <see cref="CoordinatorException"/> when there is none but an error.</summary>
    public Task<T> Task => _source.Task;

    /// <summary>Hands the answer out now; only the runtime does, once everything before it is durable.</summary>
    /// <param name="response">The answer.</param>
    internal void Release(T response) => _source.TrySetResult(response);

    /// <summary>Answers with an error, at once: nothing needs to be durable for that.</summary>
    /// <param name="error">The error code.</param>
    /// <param name="message">A text for the client, or null.</param>
    public void Fail(ErrorCode error, string? message = null) =>
        _source.TrySetException(new CoordinatorException(error, message));

    /// <summary>Notes the answer, which <see cref="IHeldReply.Release"/> then gives.</summary>
    /// <param name="response">The answer.</param>
    /// <returns>False when there is one already.</returns>
    internal bool Hold(T response)
    {
        if (_isHeld)
            return false;
        _isHeld = true;
        _held = response;
        return true;
    }

    void IHeldReply.Release() => _source.TrySetResult(_held!);
}

/// <summary>An answer that is known, and leaves when what it rests on is durable.</summary>
internal interface IHeldReply
{
    /// <summary>Gives the answer.</summary>
    void Release();

    /// <summary>Gives an error in its place.</summary>
    /// <param name="error">The error code.</param>
    /// <param name="message">A text for the client, or null.</param>
    void Fail(ErrorCode error, string? message);
}
