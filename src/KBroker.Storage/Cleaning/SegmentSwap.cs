using KBroker.Storage.Crashing;
using KBroker.Storage.Log;
using KBroker.Storage.Segments;

namespace KBroker.Storage.Cleaning;

/// <summary>
/// Puts cleaned segments in the place of those they were made from, so that a crash leaves one or the other.
/// </summary>
/// <remarks>
/// <list type="number">
/// <item>The <c>.cleaned</c> files are on stable storage. A crash here: they are deleted at the next open.</item>
/// <item>They are renamed to end with <c>.swap</c>, the last segment first. A crash within: a <c>.cleaned</c> file is
/// left, and so all are deleted. A crash behind: the next open completes the exchange (<see cref="SwapCompletion"/>).
/// </item>
/// <item>The old segments are renamed to end with <c>.deleted</c>.</item>
/// <item>The new ones lose their suffix, and then readers see them.</item>
/// <item>The old ones are deleted after <c>file.delete.delay.ms</c>, when no answer is being sent from them.</item>
/// </list>
/// The directory is flushed between the steps: renames that pass each other in a crash would leave both or none.
/// </remarks>
internal sealed class SegmentSwap(LogState state)
{
    /// <summary>Exchanges segments. The caller has the log's <see cref="CleaningGate"/>.</summary>
    /// <param name="old">Segments that stand one behind the other in the log.</param>
    /// <param name="cleaned">What stays of them, flushed; none when nothing does.</param>
    /// <returns>False when the old ones are not in the log any more; nothing was done.</returns>
    /// <exception cref="StorageException">It failed, and the log directory is offline.</exception>
    public bool Run(IReadOnlyList<LogSegment> old, IReadOnlyList<LogSegment> cleaned)
    {
        state.ThrowIfUnusable();
        if (!IsInLog(state.Segments.All, old))
            return false;
        try
        {
            Announce(cleaned);
            CrashPoint.Reached("compact.announced");
            Retire(old);
            CrashPoint.Reached("compact.retired");
            PutInPlace(cleaned);
            CrashPoint.Reached("compact.in-place");
            Publish(old, cleaned);
            CrashPoint.Reached("compact.published");
        }
        catch (Exception exception) when (LogState.IsFailure(exception))
        {
            throw state.Directory.Fail($"exchanging compacted segments of {state.Path}", exception);
        }

        state.DeleteLater(old, state.Config.FileDeleteDelayMs);
        return true;
    }

    private static bool IsInLog(LogSegment[] all, IReadOnlyList<LogSegment> old)
    {
        var first = Array.IndexOf(all, old[0]);
        return first >= 0 && first + old.Count < all.Length && old.SequenceEqual(all.Skip(first).Take(old.Count));
    }

    private void Announce(IReadOnlyList<LogSegment> cleaned)
    {
        FlushNames();
        for (var i = cleaned.Count - 1; i >= 0; i--)
            cleaned[i].ChangeSuffix(SegmentPaths.Cleaned, SegmentPaths.Swap);
        FlushNames();
    }

    private void Retire(IReadOnlyList<LogSegment> old)
    {
        foreach (var segment in old)
            segment.RenameWithSuffix(SegmentPaths.Deleted);
        FlushNames();
    }

    private void PutInPlace(IReadOnlyList<LogSegment> cleaned)
    {
        foreach (var segment in cleaned)
            segment.ChangeSuffix(SegmentPaths.Swap, "");
        FlushNames();
    }

    /// <summary>Lets readers see the new segments; an append may have added others at the end meanwhile.</summary>
    private void Publish(IReadOnlyList<LogSegment> old, IReadOnlyList<LogSegment> cleaned)
    {
        lock (state.Lock)
        {
            var all = state.Segments.All;
            var first = Array.IndexOf(all, old[0]);
            state.Segments.Replace([.. all[..first], .. cleaned, .. all[(first + old.Count)..]]);
            var active = state.Segments.Active;
            state.End.Reset(state.End.Offset, active, active.SizeInBytes);
        }

        foreach (var segment in old)
        {
            // Producer state is never again made from the start of a segment that is no more.
            if (!cleaned.Any(c => c.BaseOffset == segment.BaseOffset))
                state.Context.Files.DeleteFile(SegmentPaths.Of(state.Path, segment.BaseOffset, SegmentPaths.Snapshot));
        }
    }

    private void FlushNames() => state.Context.Files.FlushDirectory(state.Path);
}
