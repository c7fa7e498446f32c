using KBroker.Cluster.Replication;
using KBroker.Protocol;
using KBroker.Storage;

namespace KBroker.Coordination.Runtime;

/// <summary>
/// The answers of one shard, in the order of its log: each leaves when everything that was appended before it is
/// replicated and on stable storage. The shard goes on meanwhile, so that a flush under way gathers the next answers.
/// </summary>
/// <param name="partition">The shard's log.</param>
/// <param name="onFailed">Told, once, when something that was appended will never be acknowledged.</param>
internal sealed class AnswerQueue(Partition partition, Action<ErrorCode, string> onFailed) : IPartitionObserver
{
    private readonly Lock _lock = new();
    private readonly Queue<Entry> _entries = new();
    private TaskCompletionSource? _replicated;
    private Task _running = Task.CompletedTask;
    private (ErrorCode Error, string Message)? _failure;

    /// <summary>Adds answers behind all those that wait.</summary>
    /// <param name="nextOffset">The offset behind what they rest on.</param>
    /// <param name="durable">Done when everything below that offset is on stable storage.</param>
    /// <param name="answers">The answers; may be empty.</param>
    public void Add(long nextOffset, ValueTask durable, IReadOnlyList<IHeldReply> answers)
    {
        (ErrorCode Error, string Message)? failure;
        lock (_lock)
        {
            failure = _failure;
            var mustWait = _entries.Count > 0 || !durable.IsCompletedSuccessfully
                || !partition.IsReplicated(nextOffset);
            if (failure is null && mustWait)
            {
                _entries.Enqueue(new Entry(nextOffset, durable, answers));
                if (_entries.Count == 1)
                    _running = RunAsync();
                return;
            }
        }

        foreach (var answer in answers)
        {
            if (failure is { } reason)
                answer.Fail(reason.Error, null);
            else
                answer.Release();
        }
    }

    /// <summary>Waits for everything that was added.</summary>
    /// <returns>Done when all of it was answered.</returns>
    public Task DrainAsync()
    {
        lock (_lock)
            return _running;
    }

    /// <inheritdoc/>
    public void OnPartitionChanged() => Volatile.Read(ref _replicated)?.TrySetResult();

    private async Task RunAsync()
    {
        // Under the lock of the first Add; the rest of the queue's life runs without it.
        await Task.Yield();
        while (true)
        {
            Entry entry;
            lock (_lock)
                entry = _entries.Peek();
            var failure = await WaitAsync(entry).ConfigureAwait(false);
            foreach (var answer in entry.Answers)
            {
                if (failure is { } reason)
                    answer.Fail(reason.Error, null);
                else
                    answer.Release();
            }

            if (!Finish(failure))
                return;
        }
    }

    /// <summary>Takes the first entry away.</summary>
    /// <returns>Whether another one waits.</returns>
    private bool Finish((ErrorCode Error, string Message)? failure)
    {
        List<Entry>? doomed = null;
        lock (_lock)
        {
            _entries.Dequeue();
            if (failure is null)
                return _entries.Count > 0;
            if (_failure is null)
            {
                _failure = failure;
                doomed = [.. _entries];
                _entries.Clear();
            }
        }

        var (error, message) = failure.Value;
        foreach (var answer in (doomed ?? []).SelectMany(static entry => entry.Answers))
            answer.Fail(error, null);
        onFailed(error, message);
        return false;
    }

    private async ValueTask<(ErrorCode Error, string Message)?> WaitAsync(Entry entry)
    {
        try
        {
            if (!partition.IsReplicated(entry.NextOffset))
                await WaitReplicatedAsync(entry.NextOffset).ConfigureAwait(false);
            await entry.Durable.ConfigureAwait(false);
            return partition.IsReplicated(entry.NextOffset)
                ? null
                : (ErrorCode.NotCoordinator, "the partition is led by another broker now");
        }
        catch (StorageException failure)
        {
            return (CoordinatorErrors.OfAppend(ErrorCode.KafkaStorageError), failure.Message);
        }
    }

    private async Task WaitReplicatedAsync(long nextOffset)
    {
        partition.Subscribe(this);
        try
        {
            while (true)
            {
                var changed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                Volatile.Write(ref _replicated, changed);
                Interlocked.MemoryBarrier();
                if (partition.IsReplicated(nextOffset) || !partition.IsLeader)
                    return;
                await changed.Task.ConfigureAwait(false);
            }
        }
        finally
        {
            Volatile.Write(ref _replicated, null);
            partition.Unsubscribe(this);
        }
    }

    private readonly record struct Entry(long NextOffset, ValueTask Durable, IReadOnlyList<IHeldReply> Answers);
}
