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
    private static readonly string[] Suffixes =
        [SegmentPaths.Log, SegmentPaths.OffsetIndex, SegmentPaths.TimeIndex, SegmentPaths.TransactionIndex];

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

        foreach (var offset in swaps)
            DeleteReplaced(files, offset);
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
        foreach (var kind in Suffixes)
        {
            if (SegmentPaths.TryParse(name, kind + suffix, out var offset))
                return offset;
        }

        return -1;
    }

    private void DeleteReplaced(IReadOnlyList<FileEntry> files, long swapOffset)
    {
        var swap = SegmentPaths.Of(path, swapOffset, SegmentPaths.Log + SegmentPaths.Swap);
        if (!context.Files.FileExists(swap))
            return;
        var end = NextOffset(swap, swapOffset);
        foreach (var file in files)
        {
            if (!SegmentPaths.TryParse(file.Name, SegmentPaths.Log,
                out var offset) || offset < swapOffset || offset >= end)
                continue;
            foreach (var kind in Suffixes)
                context.Files.DeleteFile(SegmentPaths.Of(path, offset, kind));
        }
    }

    private void RenameToFinal(long offset)
    {
        foreach (var kind in Suffixes)
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
