using System.Diagnostics;

namespace KBroker.Timing;

/// <summary>
/// The hierarchical timing wheel: tasks by expiration, with insertion and removal in constant time. It keeps no time
/// of its own and takes no lock; <see cref="SystemTimer"/> does both. The tick is one millisecond.
/// </summary>
/// <remarks>
/// <para>
/// The lowest wheel has one slot for each of the next n milliseconds, the next wheel one slot for each of the next n
/// spans of n milliseconds, and so on; n is 20, and a wheel is made when the first task needs it. A task goes into
/// the lowest wheel that reaches far enough. So 20 slots cover 20 ms, 40 cover 400 ms, 160 cover 296 days.
/// </para>
/// <para>
/// Example with 3 slots, at time 0. Wheel 0 has slots of 1 ms and covers [0, 3), wheel 1 has slots of 3 ms and covers
/// [0, 9), wheel 2 slots of 9 ms and covers [0, 27):
/// <code>
/// wheel 0   [0]      [1]       [2]
/// wheel 1   [0..2]   [3..5]    [6..8]
/// wheel 2   [0..8]   [9..17]   [18..26]
/// </code>
/// A expires at 2, B at 5, C at 13. A lies in wheel 0, slot [2]; B in wheel 1, slot [3..5]; C in wheel 2, slot
/// [9..17]. A slot enters the priority queue under the time at which it begins, when it gets its first task: now
/// 2, 3, 9. The clock jumps along this queue.
/// </para>
/// <list type="bullet">
/// <item>At 2 the slot [2] is emptied: A is due.</item>
/// <item>At 3 the slot [3..5] is emptied. Wheel 0 covers [3, 6) by now, so B moves down into its slot for 5 (the
/// third: 5 mod 3), which enters the queue under 5.</item>
/// <item>At 5 B is due. A task D for 6 that is added now goes to wheel 0, which covers [5, 8) here, into the first
/// slot (6 mod 3): slots are used round and round.</item>
/// <item>At 6 D is due. At 9 the slot [9..17] is emptied, and wheel 1 covers [9, 18) by now: C moves down into its
/// slot [12..14]. At 12 it moves to wheel 0, at 13 it is due.</item>
/// </list>
/// <para>
/// Each task moves down at most once for each wheel above the lowest, and a cancelled one never. A task in the
/// lowest wheel is in a slot of exactly its millisecond, so expiry is exact, however far ahead it was. That a slot is
/// emptied before it is used for another turn follows from the clock: it never passes the first slot in the queue,
/// and a wheel accepts only what lies less than one turn ahead of the clock.
/// </para>
/// </remarks>
internal sealed class TimingWheel
{
    /// <summary>The number of slots in each wheel of a broker's timer.</summary>
    internal const int DefaultSlots = 20;

    /// <summary>Later expirations are moved here: far beyond any clock, and no sum with it overflows.</summary>
    internal const long MaxExpirationMs = long.MaxValue / 2;

    private readonly int _slots;
    private readonly List<Level> _levels = [];
    private readonly PriorityQueue<TimerBucket, long> _queue = new();
    private TimerBucket? _draining;

    internal TimingWheel(long startMs, int slots = DefaultSlots)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(startMs);
        ArgumentOutOfRangeException.ThrowIfLessThan(slots, 2);
        _slots = slots;
        ClockMs = startMs;
        _levels.Add(new Level(1, slots, startMs));
    }

    /// <summary>The wheel's clock: everything that expires up to here has left the wheel, or is leaving it.</summary>
    internal long ClockMs { get; private set; }

    /// <summary>
    /// Puts the task where its <see cref="TimerTask.ExpirationMs"/> belongs; false when that is not ahead of the
    /// clock, so that the task is due already.
    /// </summary>
    internal bool TryInsert(TimerTask task)
    {
        Debug.Assert(task.Next == null);
        var expirationMs = task.ExpirationMs;
        if (expirationMs <= ClockMs)
            return false;

        var index = 0;
        var level = _levels[0];
        while (expirationMs - level.StartMs >= level.SpanMs)
        {
            if (++index == _levels.Count)
                _levels.Add(new Level(level.SpanMs, _slots, ClockMs));
            level = _levels[index];
        }

        var turn = expirationMs / level.UnitMs;
        var bucket = level.Buckets[(int)(turn % _slots)];
        bucket.AddLast(task);
        if (bucket.ExpirationMs == TimerBucket.NotQueued)
        {
            bucket.ExpirationMs = turn * level.UnitMs;
            _queue.Enqueue(bucket, bucket.ExpirationMs);
        }

        Debug.Assert(bucket.ExpirationMs == turn * level.UnitMs, "a slot is still in use for another turn");
        return true;
    }

    /// <summary>
    /// Moves the clock to <paramref name="nowMs"/> when no slot lies between: what is inserted after an idle time
    /// then starts in a low wheel.
    /// </summary>
    internal void CatchUp(long nowMs)
    {
        if (nowMs > ClockMs && _draining == null && (!_queue.TryPeek(out _, out var nextMs) || nextMs > nowMs))
            MoveClock(nowMs);
    }

    /// <summary>
    /// Moves the clock towards <paramref name="nowMs"/>, puts the tasks that are due into <paramref name="due"/> in
    /// the order of their expirations, and returns their number. To bound the time of one call it stops when
    /// <paramref name="due"/> is full or <paramref name="maxMoves"/> tasks were touched; <paramref name="finished"/>
    /// is true when the clock has arrived.
    /// </summary>
    internal int Advance(long nowMs, Span<TimerTask?> due, int maxMoves, out bool finished)
    {
        var count = 0;
        var moves = 0;
        finished = false;
        while (true)
        {
            while (_draining?.First is { } task)
            {
                if (count == due.Length || moves == maxMoves)
                    return count;
                moves++;
                TimerBucket.Unlink(task);
                if (!TryInsert(task))
                    due[count++] = task;
            }

            _draining = null;
            if (!_queue.TryPeek(out var bucket, out var bucketMs) || bucketMs > nowMs)
                break;
            _queue.Dequeue();
            bucket.ExpirationMs = TimerBucket.NotQueued;
            MoveClock(bucketMs);
            _draining = bucket;
        }

        if (nowMs > ClockMs)
            MoveClock(nowMs);
        finished = true;
        return count;
    }

    /// <summary>
    /// When the clock has to move next, in milliseconds: the beginning of the first slot that holds a task, or
    /// <see cref="long.MaxValue"/>. Slots that cancellations emptied leave the queue here.
    /// </summary>
    internal long NextMs()
    {
        if (_draining is { IsEmpty: false })
            return ClockMs;
        while (_queue.TryPeek(out var bucket, out var bucketMs))
        {
            if (!bucket.IsEmpty)
                return bucketMs;
            _queue.Dequeue();
            bucket.ExpirationMs = TimerBucket.NotQueued;
        }

        return long.MaxValue;
    }

    /// <summary>Takes any one task out; null when the wheel is empty.</summary>
    internal TimerTask? RemoveAny()
    {
        if (_draining?.First is { } leaving)
        {
            TimerBucket.Unlink(leaving);
            return leaving;
        }

        if (NextMs() == long.MaxValue)
            return null;
        var task = _queue.Peek().First!;
        TimerBucket.Unlink(task);
        return task;
    }

    private void MoveClock(long toMs)
    {
        Debug.Assert(toMs >= ClockMs);
        ClockMs = toMs;
        foreach (var level in _levels)
        {
            // Each unit is a multiple of the one below: when a wheel does not turn, no wheel above it does.
            var startMs = toMs - (toMs % level.UnitMs);
            if (startMs == level.StartMs)
                return;
            level.StartMs = startMs;
        }
    }

    private sealed class Level
    {
        internal Level(long unitMs, int slots, long clockMs)
        {
            UnitMs = unitMs;
            SpanMs = unitMs > long.MaxValue / slots ? long.MaxValue : unitMs * slots;
            StartMs = clockMs - (clockMs % unitMs);
            Buckets = new TimerBucket[slots];
            for (var i = 0; i < slots; i++)
                Buckets[i] = new TimerBucket();
        }

        /// <summary>The time that one slot covers.</summary>
        internal long UnitMs { get; }

        /// <summary>The time that one turn covers.</summary>
        internal long SpanMs { get; }

        /// <summary>The clock, rounded down to the unit.</summary>
        internal long StartMs { get; set; }

        internal TimerBucket[] Buckets { get; }
    }
}
