using System.Buffers.Text;
using KBroker.Delivery.Delay;
using KBroker.Protocol.Records;
using KBroker.Protocol.Records.Delivery;
using KBroker.Storage;

namespace KBroker.Delivery.CheckBack;

/// <summary>What somebody decided on a half message.</summary>
/// <param name="Reference">The offset that its producer was told.</param>
/// <param name="IsCommit">Whether it is to be delivered.</param>
/// <param name="Group">The producer group that the decision names; empty for none.</param>
internal sealed record HalfDecision(long Reference, bool IsCommit, byte[] Group)
{
    /// <summary>Reads a decision.</summary>
    public static HalfDecision Of(in Record record, in DeliveryRequest request) => new(
        request.Reference, request.Half == HalfRequest.Commit, DeliveryRequest.GroupOf(record.Headers).ToArray());
}

/// <summary>
/// Keeps the open half messages of a partition in step with its log, record by record, the same way at the start of a
/// broker as while it runs. Not thread-safe.
/// </summary>
/// <param name="parts">Clock and metrics.</param>
/// <param name="halves">What is open.</param>
/// <param name="schedule">Where committed ones wait for their delivery.</param>
/// <param name="origins">Reads records.</param>
internal sealed class HalfFollower(
    DelayParts parts, OpenHalves halves, PendingSchedule schedule, OriginReader origins)
{
    /// <summary>A half message came.</summary>
    /// <param name="log">The log.</param>
    /// <param name="record">The record.</param>
    /// <param name="request">What it asks for.</param>
    /// <param name="isLoading">Whether the broker reads what was before its start.</param>
    public void Open(PartitionLog log, in Record record, in DeliveryRequest request, bool isLoading)
    {
        var wait = request.CheckAfterMs >= 0 ? request.CheckAfterMs : log.Config.CheckBackTimeoutMs;
        var elapsed = isLoading ? Elapsed(record.Timestamp, wait) : 0;
        halves.Set(new OpenHalf
        {
            Origin = record.Offset,
            Location = record.Offset,
            DueMs = DueMs(log, record, request),
            OpenedAt = parts.MonotonicMs - elapsed,
            NextAt = parts.MonotonicMs + wait - elapsed,
        });
    }

    /// <summary>A hidden record that the broker itself wrote of a half message.</summary>
    /// <returns>False when it is of something else.</returns>
    public bool TakeCopy(PartitionLog log, in Record record, in DeliveryRequest request, bool isLoading)
    {
        var hasState = record.Headers.TryGetLast("kbroker-half-state"u8, out var state);
        if (request.Half == HalfRequest.Prepare)
        {
            var isExpiring = hasState && state.GetValueOrDefault().Span.SequenceEqual(HalfState.Expiring);
            Carried(log, record, request, isExpiring, isLoading);
            return true;
        }

        if (!hasState)
            return false;
        if (!halves.TryGet(request.OriginOffset, out var half))
            return true;
        var text = state.GetValueOrDefault().Span;
        if (text.SequenceEqual(HalfState.Expired))
        {
            halves.Remove(half.Origin);
        }
        else if (text.SequenceEqual(HalfState.Expiring))
        {
            halves.Set(half with { IsExpiring = true, NextAt = parts.MonotonicMs });
        }
        else
        {
            var wait = log.Config.CheckBackIntervalMs;
            var elapsed = isLoading ? Elapsed(record.Timestamp, wait) : 0;
            halves.Set(half with { Checks = ChecksOf(record), NextAt = parts.MonotonicMs + wait - elapsed });
        }

        return true;
    }

    private void Carried(
        PartitionLog log, in Record record, in DeliveryRequest request, bool isExpiring, bool isLoading)
    {
        if (halves.TryGet(request.OriginOffset, out var known))
        {
            halves.Set(known with { Location = record.Offset });
            return;
        }

        // Only a start comes here: what it was before lies in segments that are gone. One that was decided on, or
        // delivered, is not carried.
        if (!isLoading)
            return;
        var checks = ChecksOf(record);
        var wait = checks == 0 ? log.Config.CheckBackTimeoutMs : log.Config.CheckBackIntervalMs;
        var elapsed = Elapsed(record.Timestamp, wait);
        halves.Set(new OpenHalf
        {
            Origin = request.OriginOffset,
            Location = record.Offset,
            DueMs = DueMs(log, record, request),
            OpenedAt = parts.MonotonicMs - elapsed,
            NextAt = isExpiring ? parts.MonotonicMs : parts.MonotonicMs + wait - elapsed,
            Checks = checks,
            IsExpiring = isExpiring,
        });
    }

    /// <summary>A decision came; only the first one on a half message that is not given up counts.</summary>
    /// <param name="log">The log.</param>
    /// <param name="decision">The decision.</param>
    /// <param name="isLoading">Whether the broker reads what was before its start.</param>
    public void Decide(PartitionLog log, HalfDecision decision, bool isLoading)
    {
        if (!halves.TryGet(decision.Reference, out var half) || half.IsExpiring || IsForeign(log, decision, half))
        {
            if (!isLoading)
                parts.Metrics.DecisionIgnored(log.TopicPartition.Topic);
            return;
        }

        halves.Remove(half.Origin);
        if (decision.IsCommit)
            schedule.Add(new PendingRecord(half.DueMs, half.Origin, half.Location), isNew: true);
    }

    /// <summary>Whether a decision names another producer group; the append has looked unless the half message was
    /// carried.</summary>
    private bool IsForeign(PartitionLog log, HalfDecision decision, in OpenHalf half) =>
        half.Location != half.Origin && decision.Group.Length > 0
        && origins.TryRead(log, half.Location, out var record, out _)
        && !DeliveryRequest.GroupOf(record.Headers).Span.SequenceEqual(decision.Group);

    private static long DueMs(PartitionLog log, in Record record, in DeliveryRequest request) =>
        request.Kind == DeliveryRequestKind.None ? 0 : request.DueMs(record.Timestamp, log.Config.DelayLevelsMs);

    private static int ChecksOf(in Record record) =>
        record.Headers.TryGetLast("kbroker-half-checks"u8, out var value)
        && Utf8Parser.TryParse(value.GetValueOrDefault().Span, out int checks, out _)
            ? checks
            : 0;

    /// <summary>The part of a wait that passed before the start, by the wall clock, which may have been set since.
    /// </summary>
    private long Elapsed(long timestamp, long wait) => Math.Clamp(parts.NowMs - timestamp, 0, wait);
}
