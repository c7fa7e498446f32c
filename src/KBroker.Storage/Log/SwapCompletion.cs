using KBroker.Storage.Files;
using KBroker.Storage.Segments;
using Microsoft.Extensions.Logging;

namespace KBroker.Storage.Log;

/// <summary>
/// Finishes, or undoes, a replacement of segments that a crash interrupted.
/// </summary>
/// <remarks>
/// A compaction writes its result to files that end with <c>.cleaned</c>, renames them to <c>.swap</c> when they are
/// complete, renames the old files to <c>.deleted</c>, and takes the suffix off the new ones. After a crash a
/// <c>.cleaned</c> file is rubbish, and so is any <c>.swap</c> at or behind its offset, because not all of its
/// group was renamed; every other <c>.swap</c> is complete and takes the place of the segments whose offsets it covers.
/// </remarks>
internal sealed class SwapCompletion(LogContext context, string path)
{
    /// <summary>Brings the files of a partition into one of the two states.</summary>
    /// <param name="files">What is in the directory.</param>
    /// <returns>Whether files were renamed or deleted.</returns>
    public bool Run(IReadOnlyList<FileEntry> files)
    {
        var firstCleaned = FirstOffset(files, SegmentPaths.Cleaned);
        var swaps = Offsets(files, SegmentPaths.Swap).Where(o => o < firstCleaned).Distinct().Order().ToList();
        foreach (var file in files)
        {
            var isRubbish = file.Name.EndsWith(SegmentPaths.Cleaned, StringComparison.Ordinal)
                || (file.Name.EndsWith(SegmentPaths.Swap, StringComparison.Ordinal)
                    && OffsetOf(file.Name, SegmentPaths.Swap) >= firstCleaned);
            if (isRubbish)
                context.Files.DeleteFile(Path.Combine(path, file.Name));
        }

        for (var i = 0; i < swaps.Count; i++)
            DeleteReplaced(files, swaps[i], i + 1 < swaps.Count ? swaps[i + 1] : null);
        // The names of what was replaced are gone for sure before another name could stand beside them.
        if (swaps.Count > 0)
            context.Files.FlushDirectory(path);
        foreach (var offset in swaps)
            RenameToFinal(offset);
        if (swaps.Count > 0)
            context.Files.FlushDirectory(path);
        return swaps.Count > 0 || firstCleaned != long.MaxValue;
    }

    private static long FirstOffset(IReadOnlyList<FileEntry> files, string suffix) =>
        Offsets(files, suffix).DefaultIfEmpty(long.MaxValue).Min();

    private static IEnumerable<long> Offsets(IReadOnlyList<FileEntry> files, string suffix) =>
        files.Select(f => OffsetOf(f.Name, suffix)).Where(static o => o >= 0);

    private static long OffsetOf(string name, string suffix)
    {
        foreach (var kind in SegmentPaths.Kinds)
        {
            if (SegmentPaths.TryParse(name, kind + suffix, out var offset))
                return offset;
        }

        return -1;
    }

    /// <summary>Deletes the segments whose offsets a new one covers.</summary>
    /// <param name="files">What is in the directory.</param>
    /// <param name="swapOffset">Base offset of the new segment.</param>
    /// <param name="nextSwap">Base offset of the new one behind it, up to which it reaches.</param>
    private void DeleteReplaced(IReadOnlyList<FileEntry> files, long swapOffset, long? nextSwap)
    {
        var swap = SegmentPaths.Of(path, swapOffset, SegmentPaths.Log + SegmentPaths.Swap);
        if (!context.Files.FileExists(swap))
            return;
        // A segment that became empty still replaces the one of its name.
        var end = nextSwap ?? Math.Max(swapOffset + 1, NextOffset(swap, swapOffset));
        foreach (var file in files)
        {
            if (SegmentPaths.TryParse(file.Name, SegmentPaths.Log, out var offset)
                && offset >= swapOffset && offset < end)
            {
                SegmentPaths.Delete(context.Files, path, offset, "");
                if (offset > swapOffset)
                    context.Files.DeleteFile(SegmentPaths.Of(path, offset, SegmentPaths.Snapshot));
            }
        }
    }

    private void RenameToFinal(long offset)
    {
        foreach (var kind in SegmentPaths.Kinds)
        {
            var swap = SegmentPaths.Of(path, offset, kind + SegmentPaths.Swap);
            if (!context.Files.FileExists(swap))
                continue;
            context.Files.Rename(swap, SegmentPaths.Of(path, offset, kind));
            context.Logger.LogInformation("{File} takes the place of what it replaces.", swap);
        }
    }

    private long NextOffset(string swap, long baseOffset)
    {
        using var file = context.Files.Open(swap, FileOpenMode.Open);
        var next = baseOffset;
        Span<byte> buffer = stackalloc byte[BatchScanner.LookupBufferBytes];
        var scanner = new BatchScanner(file, 0, checked((int)file.Length), buffer);
        while (scanner.MoveNext())
            next = scanner.Header.NextOffset;
        return scanner.Problem is null
            ? next
            : throw new CorruptLogException(swap, scanner.NextPosition, scanner.Problem);
    }
}
