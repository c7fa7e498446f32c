using KBroker.Storage.Segments;

namespace KBroker.Storage.Log;

/// <summary>Decides which segments are old enough to go.</summary>
internal static class Retention
{
    /// <summary>How many segments, from the oldest on, may be deleted.</summary>
    /// <param name="segments">All segments.</param>
    /// <param name="config">The topic's configs.</param>
    /// <param name="logStartOffset">The log's start: what lies before it goes whatever the policy is.</param>
    /// <param name="logEndOffset">The log's end.</param>
    /// <param name="highWatermark">Nothing at or behind it goes.</param>
    /// <param name="nowMs">The time.</param>
    /// <returns>The number; all of them means that the active one must be rolled first.</returns>
    public static int CountDeletable(
        LogSegment[] segments,
        LogConfig config,
        long logStartOffset,
        long logEndOffset,
        long highWatermark,
        long nowMs)
    {
        var deletes = (config.CleanupPolicy & CleanupPolicy.Delete) != 0;
        var excess = deletes && config.RetentionBytes >= 0
            ? segments.Sum(static s => (long)s.SizeInBytes) - config.RetentionBytes
            : 0;
        var count = 0;
        foreach (var segment in segments)
        {
            var isActive = count == segments.Length - 1;
            var end = isActive ? logEndOffset : segments[count + 1].BaseOffset;
            if (end > highWatermark || (isActive && segment.SizeInBytes == 0))
                break;
            var isBeforeStart = !isActive && end <= logStartOffset;
            var isExpired = deletes && config.RetentionMs >= 0 && nowMs - AgeBase(segment) > config.RetentionMs;
            var isExcess = deletes && excess - segment.SizeInBytes >= 0 && config.RetentionBytes >= 0;
            if (!isBeforeStart && !isExpired && !isExcess)
                break;
            if (isExcess && !isExpired && !isBeforeStart)
                excess -= segment.SizeInBytes;
            else
                excess -= Math.Min(excess, segment.SizeInBytes);
            count++;
        }

        return count;
    }

    private static long AgeBase(LogSegment segment)
    {
        var timestamp = segment.MaxTimestamp.Timestamp;
        return timestamp >= 0 ? timestamp : segment.LastWriteMs;
    }
}
