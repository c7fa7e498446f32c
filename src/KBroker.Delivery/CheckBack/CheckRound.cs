using KBroker.Cluster.Replication;
using KBroker.Delivery.Delay;
using KBroker.Protocol;
using KBroker.Protocol.Records;
using KBroker.Protocol.Records.Delivery;
using KBroker.Storage;
using Microsoft.Extensions.Logging;

namespace KBroker.Delivery.CheckBack;

/// <summary>
/// Asks producer groups what became of their half messages, and gives up those of which nobody knows. Not thread-safe.
/// </summary>
/// <remarks>
/// A check is sent first and noted in the partition then, so a crash in between sends it twice. Giving up is noted
/// first, on condition that no decision came, and is on stable storage before the half message goes to the topic of the
/// expired ones; that it lies there is noted last. So a half message is delivered or expires, never both, and a crash
/// may let it be there twice, but not nowhere.
/// </remarks>
/// <param name="parts">Clock, topics, metrics.</param>
/// <param name="halves">What is open.</param>
/// <param name="origins">Reads the half messages.</param>
internal sealed class CheckRound(DelayParts parts, OpenHalves halves, OriginReader origins) : IDisposable
{
    private const int HalvesAtOnce = 500;
    private readonly CopyWriter _copies = new(parts.Codecs, CopyKind.Foreign);
    private readonly CopyWriter _notes = new(parts.Codecs, CopyKind.Hidden);
    private readonly List<OpenHalf> _taken = [];
    private readonly List<OpenHalf> _copied = [];

    /// <summary>Looks after the half messages whose time has come.</summary>
    /// <param name="partition">Where they are.</param>
    /// <param name="log">Its log.</param>
    /// <param name="commandEnd">The decisions that are known.</param>
    /// <returns>0 when there is more to do at once, after the log was followed again; else how long until the next one,
    /// ms; null when none is open.</returns>
    public long? Run(Partition partition, PartitionLog log, long commandEnd)
    {
        if (halves.NextAt is not { } next)
            return null;
        var now = parts.MonotonicMs;
        if (next > now)
            return next - now;
        _taken.Clear();
        halves.TakeDue(now, HalvesAtOnce, _taken);
        GiveUp(partition, log, commandEnd);
        Ask(partition, log);
        Move(partition, log);
        return 0;
    }

    public void Dispose()
    {
        _copies.Dispose();
        _notes.Dispose();
    }

    /// <summary>Those that were asked about often enough.</summary>
    private void GiveUp(Partition partition, PartitionLog log, long commandEnd)
    {
        var given = _taken.FindAll(h => !h.IsExpiring && h.Checks >= log.Config.CheckBackMax);
        if (given.Count == 0)
            return;
        var error = Note(partition, given, HalfState.Expiring, static h => h.Checks, commandEnd);
        if (error == ErrorCode.None)
            return;
        // A decision came: it is looked at first.
        Postpone(given, error == ErrorCode.OperationNotAttempted ? 0 : parts.RetryMs);
    }

    private void Ask(Partition partition, PartitionLog log)
    {
        var asked = _taken.FindAll(h => !h.IsExpiring && h.Checks < log.Config.CheckBackMax);
        if (asked.Count == 0)
            return;
        var topic = partition.TopicPartition;
        var sent = Send(log, asked, static (_, group) => HalfHeaders.CheckTopicPrefix + group, isExpired: false);
        if (sent.Count == 0)
            return;
        parts.Metrics.Checked(topic.Topic, sent.Count);
        // One that cannot be noted waits as long as one that was, but may be asked about more often than it should.
        if (Note(partition, sent, HalfState.Checked, static h => h.Checks + 1, null) != ErrorCode.None)
            Postpone(sent, log.Config.CheckBackIntervalMs);
    }

    /// <summary>Those that were given up go to their topic.</summary>
    private void Move(Partition partition, PartitionLog log)
    {
        var moved = _taken.FindAll(static h => h.IsExpiring);
        if (moved.Count == 0)
            return;
        log.Flush();
        var sent = Send(log, moved, static (_, _) => HalfHeaders.ExpiredTopic, isExpired: true);
        if (sent.Count == 0)
            return;
        foreach (var target in sent.Select(h => parts.Targets.Find(HalfHeaders.ExpiredTopic, h.Origin)).Distinct())
            target?.Log.Flush();
        if (Note(partition, sent, HalfState.Expired, static h => h.Checks, null) != ErrorCode.None)
        {
            Postpone(sent, parts.RetryMs);
            return;
        }

        parts.Metrics.Expired(partition.TopicPartition.Topic, sent.Count);
        parts.Logger.LogWarning(
            "{Count} half messages of {Partition} were given up, because no decision came after {Checks} checks; the "
                + "first has offset {Offset}. They are in {Topic}.",
            sent.Count,
            partition.TopicPartition,
            sent[0].Checks,
            sent[0].Origin,
            HalfHeaders.ExpiredTopic);
    }

    /// <summary>Copies half messages to other topics.</summary>
    /// <returns>Those that are there; the others are postponed.</returns>
    private List<OpenHalf> Send(
        PartitionLog log, List<OpenHalf> wanted, Func<OpenHalf, string, string> topicOf, bool isExpired)
    {
        var sent = new List<OpenHalf>();
        var byTarget = new List<(Partition Target, OpenHalf Half)>();
        foreach (var half in wanted)
        {
            if (!TryRead(log, half, out var record, out _))
                continue;
            var group = System.Text.Encoding.ASCII.GetString(DeliveryRequest.GroupOf(record.Headers).Span);
            if (parts.Targets.Find(topicOf(half, group), half.Origin) is { } target)
                byTarget.Add((target, half));
            else
                Postpone([half], parts.RetryMs);
        }

        foreach (var group in byTarget.GroupBy(static t => t.Target, static t => t.Half))
            Send(log, group.Key, group, isExpired, sent);
        return sent;
    }

    private void Send(
        PartitionLog log, Partition target, IEnumerable<OpenHalf> wanted, bool isExpired, List<OpenHalf> sent)
    {
        _copies.Clear();
        _copied.Clear();
        foreach (var half in wanted)
        {
            if (!TryRead(log, half, out var record, out var header))
                continue;
            var added = isExpired
                ? HalfHeaders.Expired(log.TopicPartition, half, record)
                : HalfHeaders.Check(log.TopicPartition, half, record);
            if (!_copies.TryAdd(record, header.Compression, parts.NowMs, added))
            {
                Append(target, sent);
                _copies.TryAdd(record, header.Compression, parts.NowMs, added);
            }

            _copied.Add(half);
        }

        Append(target, sent);
    }

    private void Append(Partition target, List<OpenHalf> sent)
    {
        if (_copies.Count == 0)
            return;
        var appended = _copies.Append(target, commandEnd: null);
        if (appended.Error == ErrorCode.None)
        {
            sent.AddRange(_copied);
        }
        else
        {
            parts.Logger.LogDebug(
                "{Count} half messages wait for {Partition}: {Error} {Message}",
                _copied.Count,
                target.TopicPartition,
                ErrorCodes.Name(appended.Error),
                appended.Message);
            Postpone(_copied, parts.RetryMs);
        }

        _copied.Clear();
    }

    private bool TryRead(PartitionLog log, in OpenHalf half, out Record record, out RecordBatchHeader header)
    {
        if (origins.TryRead(log, half.Location, out record, out header))
            return true;
        // Deleted by other means than ours; there is nothing left to ask about.
        parts.Logger.LogError(
            "The half message with offset {Offset} of {Partition} is not in the log.", half.Origin, log.TopicPartition);
        halves.Remove(half.Origin);
        return false;
    }

    /// <summary>Writes what was done into the partition; the follower takes it from there.</summary>
    private ErrorCode Note(
        Partition partition, List<OpenHalf> noted, ReadOnlySpan<byte> state, Func<OpenHalf, int> checks,
        long? commandEnd)
    {
        var empty = default(Record);
        _notes.Clear();
        foreach (var half in noted)
            _notes.TryAdd(empty, CompressionType.None, parts.NowMs, HalfHeaders.Note(half.Origin, state, checks(half)));
        var appended = _notes.Append(partition, commandEnd);
        if (appended.Error is not (ErrorCode.None or ErrorCode.OperationNotAttempted))
        {
            parts.Logger.LogDebug(
                "What became of {Count} half messages cannot be written to {Partition}: {Error} {Message}",
                noted.Count,
                partition.TopicPartition,
                ErrorCodes.Name(appended.Error),
                appended.Message);
        }

        return appended.Error;
    }

    private void Postpone(IEnumerable<OpenHalf> postponed, long ms)
    {
        foreach (var half in postponed)
        {
            if (halves.TryGet(half.Origin, out var known))
                halves.Set(known with { NextAt = parts.MonotonicMs + ms });
        }
    }
}
