namespace KBroker.Timing;

/// <summary>
/// An answer that waits for a condition or for a time-out, whichever comes first: a produce that waits for the
/// high watermark, a fetch that waits for enough bytes. It completes exactly once.
/// </summary>
/// <remarks>
/// A <see cref="Purgatory{TKey}"/> calls <see cref="TryComplete"/> whenever one of the operation's keys is signalled,
/// never from two threads at once, and never with a lock held. A signal that arrives while <see cref="TryComplete"/>
/// runs lets it run once more afterwards, on the thread that runs it: no signal is lost, and no thread ever waits for
/// another's operation. So callbacks may signal and complete other operations freely.
/// </remarks>
public abstract class DelayedOperation : TimerTask
{
    private const int Pending = 0;
    private const int Completed = 1;
    private const int Expired = 2;

    private const int Resting = 0;
    private const int Trying = 1;
    private const int TryingAgain = 2;

    private int _outcome;
    private int _attempt;
    private WatchNode? _watches;
    private IOperationOwner? _owner;

    /// <summary>Creates an operation that expires <paramref name="delayMs"/> ms after it is given over.</summary>
    protected DelayedOperation(long delayMs) : base(delayMs)
    {
    }

    /// <summary>True once the operation has completed, by its condition, by force or by expiry.</summary>
    public bool IsCompleted => Volatile.Read(ref _outcome) != Pending;

    /// <summary>True when the time-out completed the operation; settled before <see cref="OnComplete"/>.</summary>
    public bool IsExpired => Volatile.Read(ref _outcome) == Expired;

    internal IOperationOwner? Owner => Volatile.Read(ref _owner);

    /// <summary>
    /// Looks whether the condition holds, and if so returns the result of <see cref="ForceComplete"/>; else false.
    /// It must not signal a key of its own operation while the condition does not hold.
    /// </summary>
    public abstract bool TryComplete();

    /// <summary>
    /// Completes the operation whether or not its condition holds. True for the one caller that did it; by then
    /// <see cref="OnComplete"/> has returned.
    /// </summary>
    public bool ForceComplete() => Complete(Completed);

    /// <summary>What completion does (build the answer, send it). Called exactly once, outside every lock.</summary>
    protected abstract void OnComplete();

    /// <summary>Called after <see cref="OnComplete"/> when the time-out was the cause, to count it.</summary>
    protected virtual void OnExpiration()
    {
    }

    /// <summary>The time-out: completes the operation unless it has completed.</summary>
    protected sealed override void Run()
    {
        if (Complete(Expired))
            OnExpiration();
    }

    /// <summary>
    /// Calls <see cref="TryComplete"/>, or lets the thread that is inside it call it again. True when this call
    /// completed the operation.
    /// </summary>
    internal bool Try()
    {
        while (true)
        {
            if (IsCompleted)
                return false;
            var attempt = Interlocked.CompareExchange(ref _attempt, Trying, Resting);
            if (attempt == Resting)
                return TryUntilQuiet();
            if (attempt == TryingAgain
                || Interlocked.CompareExchange(ref _attempt, TryingAgain, Trying) != Resting)
                return false;
        }
    }

    /// <summary>Gives the operation to a purgatory; false when one has it.</summary>
    internal bool TryClaim(IOperationOwner owner) =>
        Interlocked.CompareExchange(ref _owner, owner, null) == null;

    /// <summary>Ends the purgatory's care, once: watches and time-out go. True for the call that did it.</summary>
    internal bool Release()
    {
        var owner = Interlocked.Exchange(ref _owner, null);
        Cancel();
        Unwatch();
        owner?.OnReleased();
        return owner != null;
    }

    /// <summary>Remembers a node that is linked already: see <see cref="Unwatch"/>.</summary>
    internal void AddWatch(WatchNode node)
    {
        var head = Volatile.Read(ref _watches);
        while (true)
        {
            node.NextOfOperation = head;
            var found = Interlocked.CompareExchange(ref _watches, node, head);
            if (ReferenceEquals(found, head))
                return;
            head = found;
        }
    }

    /// <summary>
    /// Takes the operation out of every watch list it remembers. Whoever adds a watch looks afterwards whether the
    /// operation is over, and whoever ends the operation looks afterwards for watches: one of them sees the other.
    /// </summary>
    internal void Unwatch()
    {
        var node = Interlocked.Exchange(ref _watches, null);
        while (node != null)
        {
            node.Unlink();
            node = node.NextOfOperation;
        }
    }

    private bool TryUntilQuiet()
    {
        while (true)
        {
            bool completed;
            try
            {
                completed = TryComplete();
            }
            catch
            {
                // A later signal must find the operation at rest.
                Interlocked.Exchange(ref _attempt, Resting);
                throw;
            }

            if (IsCompleted)
                return completed;
            if (Interlocked.CompareExchange(ref _attempt, Resting, Trying) == Trying)
                return false;

            // A full fence: a signaller that still saw TryingAgain has left, so its change must be seen from here.
            Interlocked.Exchange(ref _attempt, Trying);
        }
    }

    private bool Complete(int outcome)
    {
        if (Interlocked.CompareExchange(ref _outcome, outcome, Pending) != Pending)
            return false;
        Release();
        OnComplete();
        return true;
    }
}
