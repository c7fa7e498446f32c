using KBroker.Timing;

namespace KBroker.Coordination.Runtime;

/// <summary>
/// The named timers of a shard, and the work that runs beside it. Both end in a step in the shard's mailbox, and there
/// it shows whether they are still wanted: a name stands for its newest timer or work alone.
/// </summary>
/// <param name="timer">The broker's timing wheel.</param>
/// <param name="post">Puts a step into the mailbox; from any thread.</param>
internal sealed class ShardTimers(ITaskTimer timer, Action<Action<ICoordinatorTurn>> post)
{
    private readonly Dictionary<string, Entry> _timers = [];
    private readonly Dictionary<string, object> _aside = [];

    /// <summary>Number of timers that wait.</summary>
    public int Count => _timers.Count;

    /// <summary>Sets a timer.</summary>
    /// <param name="key">Its name.</param>
    /// <param name="delayMs">Milliseconds from now.</param>
    /// <param name="step">The step.</param>
    public void Schedule(string key, long delayMs, Action<ICoordinatorTurn> step)
    {
        if (_timers.TryGetValue(key, out var entry) && entry.Cancel())
        {
            // It will not run any more, so it may be used again.
            entry.Step = step;
            entry.DelayMs = delayMs;
        }
        else
        {
            _timers[key] = entry = new Entry(this, key, delayMs, step);
        }

        timer.Add(entry);
    }

    /// <summary>Ends a timer, or forgets work.</summary>
    /// <param name="key">Its name.</param>
    public void Cancel(string key)
    {
        if (_timers.Remove(key, out var entry))
            entry.Cancel();
        _aside.Remove(key);
    }

    /// <summary>Runs work on the thread pool.</summary>
    /// <typeparam name="T">Its result.</typeparam>
    /// <param name="key">Its name.</param>
    /// <param name="work">The work.</param>
    /// <param name="step">What to do with the result.</param>
    public void RunAside<T>(string key, Func<T> work, Action<ICoordinatorTurn, T?, Exception?> step)
    {
        var token = new object();
        _aside[key] = token;
        ThreadPool.UnsafeQueueUserWorkItem(
            _ =>
            {
                T? result = default;
                Exception? failure = null;
                try
                {
                    result = work();
                }
                catch (Exception thrown)
                {
                    failure = thrown;
                }

                post(turn =>
                {
                    if (_aside.TryGetValue(key, out var newest) && newest == token)
                    {
                        _aside.Remove(key);
                        step(turn, result, failure);
                    }
                });
            },
            null);
    }

    /// <summary>Ends everything.</summary>
    public void Clear()
    {
        foreach (var entry in _timers.Values)
            entry.Cancel();
        _timers.Clear();
        _aside.Clear();
    }

    private void OnDue(Entry entry) => post(entry.Fire);

    private sealed class Entry : TimerTask
    {
        private readonly ShardTimers _owner;
        private readonly string _key;

        public Entry(ShardTimers owner, string key, long delayMs, Action<ICoordinatorTurn> step)
            : base(delayMs)
        {
            _owner = owner;
            _key = key;
            Step = step;
            Fire = OnShard;
        }

        public Action<ICoordinatorTurn> Step { get; set; }

        public Action<ICoordinatorTurn> Fire { get; }

        protected override void Run() => _owner.OnDue(this);

        private void OnShard(ICoordinatorTurn turn)
        {
            if (!_owner._timers.TryGetValue(_key, out var newest) || newest != this)
                return;
            _owner._timers.Remove(_key);
            Step(turn);
        }
    }
}
