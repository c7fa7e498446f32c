using System.Collections.Concurrent;
using KBroker.Cluster.Replication;
using KBroker.Delivery.CheckBack;
using KBroker.Protocol.Records;
using KBroker.Storage;
using KBroker.Storage.Crashing;
using KBroker.Timing;
using Microsoft.Extensions.Logging;

namespace KBroker.Delivery.Delay;

/// <summary>
/// The delayed records of one partition: follows its log, and appends what is due. All work is done by
/// <see cref="Pump"/>, one run at a time, on the thread pool; whoever has news wakes it.
/// </summary>
/// <remarks>
/// The log is the only truth. Pending is what it schedules (and commits), less what it cancels, less the origins that
/// its deliveries name. A delivery is appended on condition that no command came since the log was last followed, so
/// the order of the log decides between a cancel and the delivery; and it is in the log or not, so that a crash at any
/// moment neither loses nor repeats it.
/// </remarks>
internal sealed class DelaySchedule : IPartitionObserver, ILogStartGuard, IThreadPoolWorkItem
{
    private const int Idle = 0;
    private const int Busy = 1;
    private const int Again = 2;

    /// <summary>Who does nothing for so long keeps no batches in memory, ms.</summary>
    private const long IdleMs = 1000;

    private readonly DelayParts _parts;
    private readonly PendingSchedule _pending;
    private readonly OriginReader _origins;
    private readonly FlagFollower _follower;
    private readonly DueDelivery _delivery;
    private readonly CarryForward _carry;
    private readonly OpenHalves _halves = new();
    private readonly CheckRound _checks;
    private readonly PendingQueries _queries;
    private readonly ConcurrentQueue<Release> _releases = new();
    private readonly WakeTask _wake;
    private readonly TaskCompletionSource _stopped = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private PartitionLog? _log;
    private long _knownEnd;
    private int _deliveringThread;
    private long _checkpointedWork;
    private long _checkpointMs;
    private int _state;
    private volatile bool _isStopping;
    private bool _hasFailed;

    public DelaySchedule(Partition partition, DelayParts parts)
    {
        Partition = partition;
        _parts = parts;
        _pending = new PendingSchedule(parts.Files, () => Partition.Log.Path, parts.NearMax, parts.FarMax);
        _origins = new OriginReader(parts.Codecs);
        _follower = new FlagFollower(
            _pending, _origins, new HalfFollower(parts, _halves, _pending, _origins));
        _delivery = new DueDelivery(parts, _pending, _origins);
        _carry = new CarryForward(parts, _pending, _halves, _origins);
        _checks = new CheckRound(parts, _halves, _origins);
        _queries = new PendingQueries(_pending, _follower, parts.QueryScanMax);
        _wake = new WakeTask(this);
    }

    public Partition Partition { get; }

    /// <summary>Number of records pending; as of the last run.</summary>
    public long PendingCount { get; private set; }

    /// <summary>When the next one is due, epoch ms; -1 for none. As of the last run.</summary>
    public long NextDueMs { get; private set; } = -1;

    /// <summary>Number of open half messages; as of the last run.</summary>
    public int OpenHalvesCount { get; private set; }

    /// <summary>When the oldest open half message came, ms of the monotonic clock; -1 for none. As of the last run.
    /// </summary>
    public long OldestHalfAt { get; private set; } = -1;

    /// <summary>Begins to work.</summary>
    public void Start()
    {
        Partition.Subscribe(this);
        Wake();
    }

    /// <summary>Ends the work; files are brought up to date if the log can still be used.</summary>
    public Task StopAsync()
    {
        Partition.Unsubscribe(this);
        _isStopping = true;
        Wake();
        return _stopped.Task;
    }

    /// <inheritdoc/>
    public void OnPartitionChanged()
    {
        // A topic that opted in and delays nothing pays two reads of memory for an append. What the schedule appends
        // itself it follows without being woken.
        if ((Partition.Log.Flagged.FollowedEnd > Volatile.Read(ref _knownEnd) || Partition.Log != _log)
            && Volatile.Read(ref _deliveringThread) != Environment.CurrentManagedThreadId)
            Wake();
    }

    /// <summary>Lets the schedule look at log and clock again.</summary>
    public void Wake()
    {
        while (true)
        {
            var state = Volatile.Read(ref _state);
            if (state == Again || Interlocked.CompareExchange(ref _state, state == Idle ? Busy : Again, state) != state)
            {
                if (state == Again)
                    return;
                continue;
            }

            if (state == Idle)
                _parts.Executor.Submit(this);
            return;
        }
    }

    /// <summary>What is pending.</summary>
    /// <returns>Null when that cannot be told: not the leader, stopped, or the log cannot be read.</returns>
    public Task<PendingList?> ListAsync(PendingQuery query, CancellationToken cancellation)
    {
        var answer = _queries.AskAsync(query, cancellation);
        Wake();
        return answer;
    }

    /// <inheritdoc/>
    public bool TryRelease(long newStartOffset)
    {
        if (_isStopping)
            return false;
        var release = new Release(newStartOffset);
        _releases.Enqueue(release);
        Wake();
        return release.Done.Task.Wait(_parts.ReleaseTimeout) && release.Done.Task.Result;
    }

    void IThreadPoolWorkItem.Execute()
    {
        do
        {
            Volatile.Write(ref _state, Busy);
            Pump();
        }
        while (Interlocked.CompareExchange(ref _state, Idle, Busy) != Busy);
    }

    private void Pump()
    {
        if (_stopped.Task.IsCompleted)
        {
            _queries.Refuse();
            return;
        }

        try
        {
            if (_isStopping)
                Finish();
            else
                Work();
            _hasFailed = false;
        }
        catch (Exception failure) when (
            failure is IOException or RecordException or UnauthorizedAccessException or ObjectDisposedException
                or OffsetOutOfRangeException)
        {
            Fail(failure);
        }
    }

    private void Work()
    {
        if (!Partition.IsLeader)
        {
            _queries.Refuse();
            return;
        }

        var log = Partition.Log;
        if (log != _log)
            Load(log);
        long? sleepMs;
        do
        {
            var commandEnd = log.Flagged.CommandEnd;
            _follower.Follow(log, isLoading: false);
            Volatile.Write(ref _knownEnd, Math.Max(_knownEnd, _follower.FollowedTo));
            var isReleased = _follower.FollowedTo >= commandEnd && RunReleases(log, commandEnd);
            _queries.Answer(log);
            sleepMs = isReleased ? Deliver(log, commandEnd) : 0;
        }
        while (sleepMs == 0 && _state == Busy);

        if (sleepMs is null or > IdleMs)
            _origins.Clear();
        Checkpoint(log, isLast: false);
        Publish();
        if (sleepMs == 0)
            Wake();
        else if (sleepMs is { } delay)
            Schedule(delay);
    }

    private long? Deliver(PartitionLog log, long commandEnd)
    {
        Volatile.Write(ref _deliveringThread, Environment.CurrentManagedThreadId);
        try
        {
            var delivery = _delivery.Run(Partition, commandEnd, _parts.NowMs);
            var check = _checks.Run(Partition, log, commandEnd);
            return delivery is null || check < delivery ? check : delivery;
        }
        finally
        {
            Volatile.Write(ref _deliveringThread, 0);
        }
    }

    private void Load(PartitionLog log)
    {
        _log = null;
        _halves.Clear();
        _origins.Clear();
        log.StartGuard = this;
        var checkpoint = ScheduleCheckpoint.Read(_parts.Files, log.Path, out var problem);
        if (checkpoint is not null)
        {
            problem = checkpoint.TopicId != Partition.TopicId ? "it belongs to another topic"
                : checkpoint.LogEndOffset > log.LogEndOffset
                    ? $"it was written at log end {checkpoint.LogEndOffset}, but the log ends at {log.LogEndOffset}"
                : checkpoint.LevelsMark != FlagFollower.MarkOf(log.Config.DelayLevelsMs)
                    ? "kbroker.delay.levels has changed since"
                : null;
        }

        if (problem is not null)
        {
            _parts.Logger.LogWarning(
                "{File} is not used, and the schedule of {Partition} is made anew from its log: {Problem}.",
                Path.Combine(log.Path, ScheduleCheckpoint.FileName),
                Partition.TopicPartition,
                problem);
            checkpoint = null;
        }

        CrashPoint.Reached("delays.load-begun");
        var began = _parts.Time.GetTimestamp();
        _pending.BeginLoading(checkpoint?.Runs ?? []);
        _follower.Reset(checkpoint?.FollowedTo ?? log.LogStartOffset, log.Config.DelayLevelsMs);
        var progress = new LoadProgress(_parts.Time, _parts.Logger, Partition.TopicPartition, log.LogEndOffset);
        _follower.Follow(log, isLoading: true, progress.Report);
        _pending.FinishLoading(progress.ReportCounted);
        CrashPoint.Reached("delays.loaded");
        _log = log;
        if (_halves.Count > 0)
        {
            _parts.Logger.LogInformation(
                "{Partition} has {Count} open half messages.", Partition.TopicPartition, _halves.Count);
        }

        if (_pending.Count > 0)
        {
            _parts.Logger.LogInformation(
                "{Partition} has {Count} delayed records pending, found in {Milliseconds:0} ms.",
                Partition.TopicPartition,
                _pending.Count,
                _parts.Time.GetElapsedTime(began).TotalMilliseconds);
        }
    }

    /// <summary>Lets go of segments that may be deleted.</summary>
    /// <returns>False when the log is to be followed first.</returns>
    private bool RunReleases(PartitionLog log, long commandEnd)
    {
        while (_releases.TryPeek(out var release))
        {
            // What was appended since may lie below the offset, too.
            if (_follower.FollowedTo < Math.Min(release.Offset, log.LogEndOffset))
                return false;
            // Records of an open transaction are not pending yet, but must not go either.
            var done = _follower.SettledTo >= Math.Min(release.Offset, _follower.FollowedTo)
                ? _carry.Run(Partition, log, release.Offset, commandEnd, _parts.NowMs)
                : false;
            if (done is not { } isDone)
                return false;
            _releases.TryDequeue(out _);
            release.Done.TrySetResult(isDone);
            if (isDone)
                _follower.Follow(log, isLoading: false);
        }

        return true;
    }

    private void Checkpoint(PartitionLog log, bool isLast)
    {
        var work = _follower.Seen + _delivery.Delivered;
        var nowMs = _parts.NowMs;
        if (work == _checkpointedWork)
            return;
        if (_checkpointMs == 0)
            _checkpointMs = nowMs;
        if (!isLast && work - _checkpointedWork < _parts.CheckpointWork
            && Math.Abs(nowMs - _checkpointMs) < _parts.CheckpointIntervalMs)
            return;
        var runs = _pending.Save(out var nearNumber);
        var end = log.LogEndOffset;
        // The files leave out what was delivered: that must not be lost.
        log.Flush();
        CrashPoint.Reached("delays.checkpoint-ready");
        // Open half messages are in no file: a start reads the log from the first of them on.
        var from = Math.Min(_follower.SettledTo, _halves.LeastLocation ?? long.MaxValue);
        new ScheduleCheckpoint(Partition.TopicId, from, end, _follower.LevelsMark, runs)
            .Write(_parts.Files, log.Path);
        CrashPoint.Reached("delays.checkpoint-written");
        _pending.DeleteObsolete(runs, nearNumber);
        _checkpointedWork = work;
        _checkpointMs = nowMs;
    }

    private void Publish()
    {
        PendingCount = _pending.Count;
        NextDueMs = _pending.NextDueMs ?? -1;
        OpenHalvesCount = _halves.Count;
        OldestHalfAt = _halves.OldestAt ?? -1;
    }

    private void Schedule(long delayMs)
    {
        _wake.Cancel();
        _wake.DelayMs = Math.Max(1, delayMs);
        _parts.Timer.Add(_wake);
    }

    private void Fail(Exception failure)
    {
        while (_releases.TryDequeue(out var release))
            release.Done.TrySetResult(false);
        _queries.Refuse();
        if (_isStopping)
        {
            _stopped.TrySetResult();
            return;
        }

        // What is in memory may be ahead of the log, or behind it: begin again with what the log says.
        _log = null;
        if (!Partition.IsLeader || Partition.IsOffline)
            return;
        if (!_hasFailed)
        {
            _parts.Logger.LogError(
                failure,
                "Delayed records of {Partition} cannot be delivered; it is tried again every {Milliseconds} ms.",
                Partition.TopicPartition,
                _parts.RetryMs);
        }

        _hasFailed = true;
        Schedule(_parts.RetryMs);
    }

    private void Finish()
    {
        try
        {
            _wake.Cancel();
            while (_releases.TryDequeue(out var release))
                release.Done.TrySetResult(false);
            _queries.Refuse();
            if (_log is { } log && Partition.IsLeader && !Partition.IsOffline)
                Checkpoint(log, isLast: true);
        }
        finally
        {
            if (_log is { } log && log.StartGuard == this)
                log.StartGuard = null;
            _origins.Dispose();
            _delivery.Dispose();
            _carry.Dispose();
            _checks.Dispose();
            _stopped.TrySetResult();
        }
    }

    private sealed record Release(long Offset)
    {
        public TaskCompletionSource<bool> Done { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    private sealed class WakeTask(DelaySchedule schedule) : TimerTask(0)
    {
        protected override void Run() => schedule.Wake();
    }
}
