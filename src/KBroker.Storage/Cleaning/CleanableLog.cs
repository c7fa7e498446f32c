using KBroker.Storage.Segments;

namespace KBroker.Storage.Cleaning;

/// <summary>What of a log may be compacted now, and how much it needs it.</summary>
internal sealed class CleanableLog
{
    private CleanableLog(PartitionLog log) => Log = log;

    public PartitionLog Log { get; }

    /// <summary>Everything before it was compacted already.</summary>
    public long FirstDirtyOffset { get; private init; }

    /// <summary>The first offset that must not be compacted yet; a segment starts there.</summary>
    public long EndOffset { get; private init; }

    /// <summary>Bytes of the segments compacted already.</summary>
    public long CleanBytes { get; private init; }

    /// <summary>Bytes of the dirty segments that may be compacted.</summary>
    public long DirtyBytes { get; private init; }

    /// <summary>How long records have waited beyond <c>max.compaction.lag.ms</c>, ms; 0 when none has.</summary>
    public long OverdueMs { get; private init; }

    /// <summary>The offset given was not within the log.</summary>
    public bool CheckpointWasInvalid { get; private init; }

    /// <summary>The share of dirty bytes.</summary>
    public double DirtyRatio => DirtyBytes == 0 ? 0 : (double)DirtyBytes / (CleanBytes + DirtyBytes);

    /// <summary>Whether it is to be compacted.</summary>
    public bool IsDue => DirtyBytes > 0 && (OverdueMs > 0 || DirtyRatio > Log.Config.MinCleanableDirtyRatio);

    /// <summary>Looks at a log.</summary>
    /// <param name="log">The log.</param>
    /// <param name="checkpoint">Up to where it is compacted, as far as is known.</param>
    /// <param name="highWatermark">Nothing at or behind it is compacted.</param>
    /// <param name="nowMs">The time.</param>
    public static CleanableLog Of(PartitionLog log, long? checkpoint, long highWatermark, long nowMs)
    {
        var config = log.Config;
        var all = log.State.Segments.All;
        var start = log.LogStartOffset;
        var isInvalid = checkpoint is { } known && (known < start || known > log.LogEndOffset);
        var firstDirty = isInvalid || checkpoint is null ? start : checkpoint.Value;
        var stable = Math.Min(highWatermark, log.FirstUnstableOffset ?? long.MaxValue);

        // The active segment is never compacted, nor is one that ends behind the stable offset, or is too young.
        var end = 0;
        while (end < all.Length - 1 && all[end + 1].BaseOffset <= stable
            && (all[end + 1].BaseOffset <= firstDirty || !IsTooYoung(all[end], config, nowMs)))
        {
            end++;
        }

        var endOffset = Math.Max(firstDirty, all[end].BaseOffset);
        long clean = 0, dirty = 0;
        for (var i = 0; i < end; i++)
        {
            if (all[i + 1].BaseOffset <= firstDirty)
                clean += all[i].SizeInBytes;
            else
                dirty += all[i].SizeInBytes;
        }

        return new CleanableLog(log)
        {
            FirstDirtyOffset = firstDirty,
            EndOffset = endOffset,
            CleanBytes = clean,
            DirtyBytes = dirty,
            OverdueMs = OverdueOf(all, end, firstDirty, config, nowMs),
            CheckpointWasInvalid = isInvalid,
        };
    }

    private static bool IsTooYoung(LogSegment segment, LogConfig config, long nowMs)
    {
        if (config.MinCompactionLagMs <= 0)
            return false;
        var timestamp = segment.MaxTimestamp.Timestamp;
        return (timestamp >= 0 ? timestamp : segment.CreatedMs) > nowMs - config.MinCompactionLagMs;
    }

    private static long OverdueOf(LogSegment[] all, int end, long firstDirty, LogConfig config, long nowMs)
    {
        if (config.MaxCompactionLagMs >= nowMs)
            return 0;
        var latest = nowMs - Math.Max(0, config.MaxCompactionLagMs);
        var earliest = long.MaxValue;
        for (var i = 0; i < end; i++)
        {
            if (all[i + 1].BaseOffset > firstDirty && all[i].FirstTimestamp() is > 0 and var first)
                earliest = Math.Min(earliest, first);
        }

        return earliest < latest ? latest - earliest : 0;
    }
}
