using System.Threading.Tasks.Sources;

namespace KBroker.Timing;

/// <summary>
/// A <see cref="DelayedOperation"/> whose answer can be awaited. The operation itself is the source of the
/// <see cref="ValueTask{TResult}"/>: there is no other object, and the code that awaits goes on in the thread pool,
/// never inside the thread that completed the operation.
/// </summary>
/// <remarks>
/// <code>
/// sealed class DelayedFetch(FetchPlan plan, long maxWaitMs) : AsyncDelayedOperation&lt;FetchResponse&gt;(maxWaitMs)
/// {
///     public override bool TryComplete() => plan.HasEnough() &amp;&amp; ForceComplete();
///     protected override FetchResponse CreateResult() => plan.Read();   // also when IsExpired
/// }
/// var response = await purgatory.WaitAsync(new DelayedFetch(plan, request.MaxWaitMs), keys);
/// </code>
/// </remarks>
/// <typeparam name="TResult">The answer.</typeparam>
public abstract class AsyncDelayedOperation<TResult> : DelayedOperation, IValueTaskSource<TResult>
{
    private ManualResetValueTaskSourceCore<TResult> _source;

    /// <summary>Creates an operation that expires <paramref name="delayMs"/> ms after it is given over.</summary>
    protected AsyncDelayedOperation(long delayMs) : base(delayMs) => _source.RunContinuationsAsynchronously = true;

    /// <summary>
    /// The answer, once the operation has completed; an exception of <see cref="CreateResult"/> comes out here. May
    /// be awaited once, as every such value task.
    /// </summary>
    public ValueTask<TResult> Completion => new(this, _source.Version);

    /// <summary>
    /// Makes the answer, once, on the thread that completes the operation. <see cref="DelayedOperation.IsExpired"/>
    /// tells whether the time-out was the cause.
    /// </summary>
    protected abstract TResult CreateResult();

    /// <inheritdoc/>
    protected sealed override void OnComplete()
    {
        TResult result;
        try
        {
            result = CreateResult();
        }
        catch (Exception exception)
        {
            _source.SetException(exception);
            return;
        }

        _source.SetResult(result);
    }

    TResult IValueTaskSource<TResult>.GetResult(short token) => _source.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource<TResult>.GetStatus(short token) => _source.GetStatus(token);

    void IValueTaskSource<TResult>.OnCompleted(
        Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _source.OnCompleted(continuation, state, token, flags);
}

/// <summary>Awaiting operations.</summary>
public static class PurgatoryExtensions
{
    /// <summary>
    /// <see cref="Purgatory{TKey}.TryCompleteElseWatch"/>, then the answer, whether it came at once, by a signal, or
    /// by the time-out.
    /// </summary>
    public static ValueTask<TResult> WaitAsync<TKey, TResult>(
        this Purgatory<TKey> purgatory, AsyncDelayedOperation<TResult> operation, params ReadOnlySpan<TKey> keys)
        where TKey : notnull
    {
        ArgumentNullException.ThrowIfNull(purgatory);
        ArgumentNullException.ThrowIfNull(operation);
        purgatory.TryCompleteElseWatch(operation, keys);
        return operation.Completion;
    }
}
