namespace KBroker.Timing;

/// <summary>
/// One slot of one wheel: the tasks that expire in [<see cref="ExpirationMs"/>, + the wheel's unit), in a circular
/// doubly linked list through the tasks themselves, first in, first out. The owner of the wheel guards it.
/// </summary>
internal sealed class TimerBucket
{
    /// <summary>The value of <see cref="ExpirationMs"/> outside the queue.</summary>
    internal const long NotQueued = -1;

    private readonly Root _root = new();

    /// <summary>When the slot begins; equals the bucket's place in the wheel's priority queue.</summary>
    internal long ExpirationMs { get; set; } = NotQueued;

    internal bool IsEmpty => ReferenceEquals(_root.Next, _root);

    internal TimerTask? First => IsEmpty ? null : _root.Next;

    internal void AddLast(TimerTask task)
    {
        var last = _root.Previous!;
        task.Previous = last;
        task.Next = _root;
        last.Next = task;
        _root.Previous = task;
    }

    /// <summary>Takes the task out of the bucket that holds it, whichever that is.</summary>
    internal static void Unlink(TimerTask task)
    {
        task.Previous!.Next = task.Next;
        task.Next!.Previous = task.Previous;
        task.Next = null;
        task.Previous = null;
    }

    // The list closes through a task that is never scheduled: unlinking then needs neither a reference to the
    // bucket in each task nor a special case at the ends.
    private sealed class Root : TimerTask
    {
        internal Root() : base(0)
        {
            Next = this;
            Previous = this;
        }

        protected override void Run() => throw new InvalidOperationException("The root of a bucket never runs.");
    }
}
