using System.Runtime.CompilerServices;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;

namespace KBroker.Server.Net;

/// <summary>
/// The requests of one connection that are under way, in the order in which they came, which is the order of their
/// answers. A ring of a fixed number of slots: the process loop adds at the end, background halves complete slots in
/// any order, the send loop takes completed ones from the front.
/// </summary>
internal sealed class ResponseQueue
{
    private readonly Lock _lock = new();
    private readonly ResponseSlot?[] _slots;
    private readonly ClientSession _session;
    private readonly Action<ResponseSlot> _completed;
    private long _started;
    private long _finished;
    private int _unwritten;

    /// <param name="session">Whose requests these are.</param>
    /// <param name="capacity">Most requests under way.</param>
    /// <param name="completed">Called when a slot that was waited for completes, on whatever thread completes
    /// it.</param>
    public ResponseQueue(ClientSession session, int capacity, Action<ResponseSlot> completed)
    {
        _session = session;
        _completed = completed;
        _slots = new ResponseSlot?[capacity];
    }

    /// <summary>Requests under way: running, or answered and not yet written.</summary>
    public int Count
    {
        get
        {
            lock (_lock)
                return (int)(_started - _finished);
        }
    }

    /// <summary>Requests ever started, which is the number of the latest one.</summary>
    public long Started
    {
        get
        {
            lock (_lock)
                return _started;
        }
    }

    /// <summary>Number of the latest request whose answer is written; all before it are too.</summary>
    public long Finished
    {
        get
        {
            lock (_lock)
                return _finished;
        }
    }

    /// <summary>Answers that are there and not yet written, be it that an earlier one is still to come.</summary>
    public int UnwrittenAnswers => Volatile.Read(ref _unwritten);

    /// <summary>Takes the next slot, for a request that is about to start.</summary>
    /// <returns>Null when all are taken.</returns>
    public ResponseSlot? TryAdd()
    {
        lock (_lock)
        {
            if (_started - _finished == _slots.Length)
                return null;
            ref var slot = ref _slots[_started % _slots.Length];
            slot ??= new ResponseSlot(new RequestContext(_session), this);
            _started++;
            return slot;
        }
    }

    /// <summary>The request whose answer is next, if it is complete.</summary>
    public ResponseSlot? PeekCompleted()
    {
        lock (_lock)
        {
            return _started > _finished && _slots[_finished % _slots.Length] is { IsCompleted: true } slot
                ? slot
                : null;
        }
    }

    /// <summary>Gives the front slot free, once its answer is written.</summary>
    public void RemoveFirst()
    {
        lock (_lock)
        {
            ref var slot = ref _slots[_finished % _slots.Length];
            if (slot!.HoldsAnswer)
                Interlocked.Decrement(ref _unwritten);
            slot.Reset();
            _finished++;
        }
    }

    internal void AnswerCame() => Interlocked.Increment(ref _unwritten);

    internal void PendingCompleted(ResponseSlot slot) => _completed(slot);
}

/// <summary>One request under way and, once it is there, its answer.</summary>
internal sealed class ResponseSlot
{
    private readonly ResponseQueue _queue;
    private readonly Action _onCompleted;
    private ValueTaskAwaiter<IResponseMessage?> _pending;
    private volatile bool _isCompleted;

    public ResponseSlot(RequestContext context, ResponseQueue queue)
    {
        Context = context;
        _queue = queue;
        _onCompleted = OnPendingCompleted;
    }

    public RequestContext Context { get; }

    /// <summary>Whether <see cref="Response"/>, or its absence, is known.</summary>
    public bool IsCompleted => _isCompleted;

    /// <summary>The answer; null for none.</summary>
    public IResponseMessage? Response { get; private set; }

    /// <summary>What the handler threw, until the connection has made an answer of it.</summary>
    public Exception? Failure { get; private set; }

    /// <summary>Whether an answer is kept here, not the fact that there is none.</summary>
    public bool HoldsAnswer => _isCompleted && Response is not null;

    /// <summary>Makes the slot ready for another request.</summary>
    public void Reset()
    {
        _isCompleted = false;
        Response = null;
        Failure = null;
    }

    /// <summary>Completes the slot now, or arranges for it.</summary>
    /// <returns>Whether it is complete; otherwise the queue's callback comes.</returns>
    public bool Start(ValueTask<IResponseMessage?> pending)
    {
        var awaiter = pending.GetAwaiter();
        if (awaiter.IsCompleted)
        {
            Take(awaiter);
            return true;
        }
        _pending = awaiter;
        awaiter.UnsafeOnCompleted(_onCompleted);
        return false;
    }

    /// <summary>Completes the slot with what the ordered half threw.</summary>
    public void Fail(Exception failure)
    {
        Failure = failure;
        _isCompleted = true;
    }

    private void OnPendingCompleted()
    {
        var awaiter = _pending;
        _pending = default;
        Take(awaiter);
        _queue.PendingCompleted(this);
    }

    private void Take(ValueTaskAwaiter<IResponseMessage?> awaiter)
    {
        try
        {
            Response = awaiter.GetResult();
            if (Response is not null)
                _queue.AnswerCame();
        }
        catch (Exception e)
        {
            Failure = e;
        }
        _isCompleted = true;
    }
}
