using System.Buffers;
using System.Numerics;
using System.Runtime.ExceptionServices;

namespace KBroker.Timing;

/// <summary>
/// Where operations wait that cannot be answered yet. Each watches some keys (partitions, groups); a signal for a key
/// lets the operations that watch it look at their condition again, and a timer ends the wait of those it never
/// comes for. All members may be called from any thread, also from the callbacks of operations.
/// </summary>
/// <remarks>
/// <para>
/// No wake-up is lost. An operation is tried, then watched under all its keys, then tried once more, then put on the
/// timer. Take a fetch that waits for partition p, and an append that comes at the same time. The append first moves
/// the log end, then signals p. When the signal comes before the fetch watches p, it finds nobody; but the second
/// try comes after, and sees the new log end. When it comes later, it finds the fetch. When it comes during the second
/// try, it lets that try run again.
/// </para>
/// <para>
/// An operation leaves all its watch lists in the moment it completes, in constant time a key, as it entered them.
/// So completed operations are never held, and there is nothing to purge: Kafka's lists are one-way, keep completed
/// operations until the next signal of each key, and need a sweep (<c>*.purgatory.purge.interval.requests</c>).
/// </para>
/// </remarks>
/// <typeparam name="TKey">The keys; compared with the type's own equality.</typeparam>
public sealed class Purgatory<TKey> : IOperationOwner, IDisposable
    where TKey : notnull
{
    private const int DefaultShards = 64;

    private readonly ITaskTimer _timer;
    private readonly WatchShard<TKey>[] _shards;
    private readonly int _shardShift;
    private readonly IDisposable? _registration;
    private int _delayed;

    /// <summary>Creates an empty purgatory.</summary>
    /// <param name="name">What waits here, as Kafka names it in its metrics: <c>Produce</c>, <c>Fetch</c>, ...</param>
    /// <param name="timer">Ends the waits; may serve others too.</param>
    /// <param name="metrics">Publishes <see cref="Watched"/> and <see cref="Delayed"/>; nobody does when null.</param>
    public Purgatory(string name, ITaskTimer timer, TimingMetrics? metrics = null)
        : this(name, timer, metrics, DefaultShards)
    {
    }

    internal Purgatory(string name, ITaskTimer timer, TimingMetrics? metrics, int shards)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        ArgumentNullException.ThrowIfNull(timer);
        if (!BitOperations.IsPow2(shards) || shards < 2)
            throw new ArgumentOutOfRangeException(nameof(shards), shards, "Must be a power of two, at least 2.");
        Name = name;
        _timer = timer;
        _shards = new WatchShard<TKey>[shards];
        for (var i = 0; i < shards; i++)
            _shards[i] = new WatchShard<TKey>();
        _shardShift = 32 - BitOperations.Log2((uint)shards);
        _registration = metrics?.Register(name, () => Watched, () => Delayed);
    }

    /// <summary>What waits here, for metrics and logs.</summary>
    public string Name { get; }

    /// <summary>The number of watches: an operation counts once for each of its keys. Kafka's PurgatorySize.</summary>
    public int Watched
    {
        get
        {
            var watched = 0;
            foreach (var shard in _shards)
                watched += shard.Count;
            return watched;
        }
    }

    /// <summary>The number of operations that wait. Kafka's NumDelayedOperations.</summary>
    public int Delayed => Volatile.Read(ref _delayed);

    /// <summary>
    /// Completes the operation if its condition holds, else lets it wait for a signal of one of
    /// <paramref name="keys"/>, or for its delay to pass; without keys only for the latter. True when this call
    /// completed it; when false it waits, or another thread was faster: <see cref="DelayedOperation.OnComplete"/>
    /// tells in every case.
    /// </summary>
    /// <exception cref="InvalidOperationException">The operation waits in a purgatory already.</exception>
    /// <exception cref="ObjectDisposedException">The timer is disposed. The operation does not wait.</exception>
    public bool TryCompleteElseWatch(DelayedOperation operation, params ReadOnlySpan<TKey> keys)
    {
        ArgumentNullException.ThrowIfNull(operation);
        if (operation.Try())
            return true;
        if (operation.IsCompleted)
            return false;
        Interlocked.Increment(ref _delayed);
        if (!operation.TryClaim(this))
        {
            Interlocked.Decrement(ref _delayed);
            throw new InvalidOperationException("The operation waits in a purgatory already.");
        }

        try
        {
            foreach (var key in keys)
            {
                operation.AddWatch(Shard(key).Add(key, operation));
                if (operation.IsCompleted)
                    break;
            }

            if (operation.Try())
                return true;
            if (!operation.IsCompleted)
                _timer.Add(operation);
        }
        catch
        {
            operation.Release();
            throw;
        }
        finally
        {
            // Whoever ended the wait meanwhile may have missed the claim, the last watch or the timer.
            if (operation.IsCompleted || operation.Owner == null)
                operation.Release();
        }

        return false;
    }

    /// <summary>
    /// Signals <paramref name="key"/>: tries every operation that watches it, oldest first, and returns how many
    /// this call completed. The caller has made the change that they wait for visible before. If operations throw,
    /// the others are still tried, then the first exception is thrown.
    /// </summary>
    public int CheckAndComplete(TKey key)
    {
        var count = Shard(key).Snapshot(key, out var single, out var rented);
        if (count == 0)
            return 0;
        if (rented == null)
            return single!.Try() ? 1 : 0;

        var completed = 0;
        ExceptionDispatchInfo? failure = null;
        for (var i = 0; i < count; i++)
        {
            try
            {
                if (rented[i].Try())
                    completed++;
            }
            catch (Exception exception)
            {
                failure ??= ExceptionDispatchInfo.Capture(exception);
            }
        }

        ArrayPool<DelayedOperation>.Shared.Return(rented, clearArray: true);
        failure?.Throw();
        return completed;
    }

    /// <summary>
    /// Ends the wait of every operation that watches <paramref name="key"/>, under all its keys and on the timer,
    /// without completing it, and returns those operations: the caller answers them, normally with
    /// <see cref="DelayedOperation.ForceComplete"/>. An operation that completes meanwhile is not returned.
    /// </summary>
    public IReadOnlyList<DelayedOperation> CancelForKey(TKey key)
    {
        var count = Shard(key).Snapshot(key, out var single, out var rented);
        if (count == 0)
            return [];
        var cancelled = new List<DelayedOperation>(count);
        for (var i = 0; i < count; i++)
        {
            var operation = rented == null ? single! : rented[i];
            if (!operation.IsCompleted && operation.Release())
                cancelled.Add(operation);
        }

        if (rented != null)
            ArrayPool<DelayedOperation>.Shared.Return(rented, clearArray: true);
        return cancelled;
    }

    /// <summary>
    /// Completes by force every operation that watches a key, and returns how many this call completed: for a server
    /// that stops and answers what it has accepted.
    /// </summary>
    public int CompleteAll()
    {
        var operations = new List<DelayedOperation>();
        foreach (var shard in _shards)
            shard.CopyAll(operations);
        var completed = 0;
        foreach (var operation in operations)
        {
            if (operation.ForceComplete())
                completed++;
        }

        return completed;
    }

    /// <summary>Takes the purgatory out of the metrics. Operations that wait are left as they are.</summary>
    public void Dispose() => _registration?.Dispose();

    void IOperationOwner.OnReleased() => Interlocked.Decrement(ref _delayed);

    // Multiplying spreads hash codes that differ in few bits, as those of small integers do.
    private WatchShard<TKey> Shard(TKey key) =>
        _shards[(uint)(EqualityComparer<TKey>.Default.GetHashCode(key) * -1640531527) >> _shardShift];
}
