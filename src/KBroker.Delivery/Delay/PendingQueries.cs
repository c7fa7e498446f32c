using System.Collections.Concurrent;
using KBroker.Storage;

namespace KBroker.Delivery.Delay;

/// <summary>
/// Questions about a schedule: asked on any thread, answered by the schedule's own, between two of its steps.
/// </summary>
/// <remarks>
/// An answer costs bounded time and memory whatever the number pending: files are read from the instant asked for, page
/// by page, and no further than <paramref name="scanMax"/> entries; the answer says where to go on. Single records are
/// found by their due time; only those that were carried forward are looked for in all that is pending.
/// </remarks>
/// <param name="pending">The schedule.</param>
/// <param name="follower">Knows when a record of the log is due.</param>
/// <param name="scanMax">Entries looked at for one answer, at most.</param>
internal sealed class PendingQueries(PendingSchedule pending, FlagFollower follower, int scanMax)
{
    private readonly ConcurrentQueue<Question> _questions = new();

    /// <summary>Asks; the schedule has to be woken.</summary>
    /// <returns>The answer; null when the schedule cannot tell: it has stopped, or cannot read its log.</returns>
    public Task<PendingList?> AskAsync(PendingQuery query, CancellationToken cancellation)
    {
        var question = new Question(query, cancellation);
        _questions.Enqueue(question);
        return question.Done.Task;
    }

    /// <summary>Answers what was asked.</summary>
    /// <exception cref="IOException">Files or log cannot be read; the questions are still there.</exception>
    public void Answer(PartitionLog log)
    {
        while (_questions.TryPeek(out var question))
        {
            if (!question.Cancellation.IsCancellationRequested)
                question.Done.TrySetResult(Answer(log, question.Query));
            _questions.TryDequeue(out _);
            question.Done.TrySetCanceled(question.Cancellation);
        }
    }

    /// <summary>Tells all who asked that there is no answer.</summary>
    public void Refuse()
    {
        while (_questions.TryDequeue(out var question))
            question.Done.TrySetResult(null);
    }

    private PendingList Answer(PartitionLog log, PendingQuery query)
    {
        var entries = new List<PendingEntry>();
        var next = query.Limit <= 0 ? null
            : query.Offsets.Count > 0 ? Pick(log, query, entries)
            : List(query, entries);
        return new PendingList
        {
            Count = pending.Count,
            NextDueMs = pending.NextDueMs,
            UpToOffset = follower.FollowedTo,
            Entries = entries,
            Next = next,
        };
    }

    private (long, long)? List(PendingQuery query, List<PendingEntry> entries)
    {
        var seen = 0;
        foreach (var record in pending.ReadFrom(new PendingRecord(query.FromMs, query.FromOffset, long.MinValue)))
        {
            if (entries.Count == query.Limit || seen++ == scanMax)
                return (record.DueMs, record.Origin);
            if (pending.IsPending(record))
                entries.Add(Entry(record));
        }

        return null;
    }

    /// <summary>Finds single records: by their due time, which the log tells, else by a look at all.</summary>
    private (long, long)? Pick(PartitionLog log, PendingQuery query, List<PendingEntry> entries)
    {
        var found = new SortedSet<PendingRecord>();
        HashSet<long>? elsewhere = null;
        foreach (var offset in query.Offsets.Distinct())
        {
            if (follower.ReadScheduled(log, offset, out var isCertain) is { } scheduled
                && pending.Find(scheduled) is { } record)
                found.Add(record);
            else if (!isCertain)
                (elsewhere ??= []).Add(offset);
        }

        if (elsewhere is not null)
            found.UnionWith(pending.ReadAll().Where(r => elsewhere.Contains(r.Origin)));
        var from = new PendingRecord(query.FromMs, query.FromOffset, long.MinValue);
        foreach (var record in found.Where(r => r.CompareTo(from) >= 0))
        {
            if (entries.Count == query.Limit)
                return (record.DueMs, record.Origin);
            entries.Add(Entry(record));
        }

        return null;
    }

    private static PendingEntry Entry(in PendingRecord record) => new(record.Origin, record.DueMs, record.Location);

    private sealed record Question(PendingQuery Query, CancellationToken Cancellation)
    {
        public TaskCompletionSource<PendingList?> Done { get; } =
            new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
