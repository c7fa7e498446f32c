namespace KBroker.Crash.PowerCut;

/// <summary>How much of what was not flushed the disk has nevertheless.</summary>
public enum UnflushedFate
{
    /// <summary>Nothing: the least that a disk may have.</summary>
    Lost,

    /// <summary>Names in order up to some point; of each file nothing, everything, or some of its sectors.</summary>
    Mixed,

    /// <summary>All names, no content: files are there, empty or short.</summary>
    NamesOnly,

    /// <summary>Everything: as after a kill.</summary>
    Kept,
}

/// <summary>
/// Rebuilds, from the record of <c>PowerCutFileSystem</c> and the files as the killed process left them, a disk
/// as a power cut may leave it. What was flushed is there always; of the rest, chance decides.
/// </summary>
/// <remarks>
/// Names of one directory are lost from the last one backwards, never one in the middle, which is what journalling file
/// systems promise; a rename is there as a whole or not at all. Of a file's unflushed bytes any sector of 512 may be
/// there or not, and the length may be that of the flush, or that of the writes with zeros where sectors are missing.
/// </remarks>
public sealed class PowerCutDisk(string root, string record, Random random)
{
    private const int SectorSize = 512;

    /// <summary>Begins a record of what is on stable storage: all that is there now.</summary>
    public void Begin()
    {
        using var storage = StableStorage.Open(root, record);
    }

    /// <summary>Puts the disk as it is after the cut in the root's place, and ends the record.</summary>
    /// <param name="fate">What of the unflushed is there.</param>
    /// <param name="before">Where the files as they were before the cut go, for whoever looks for a bug.</param>
    /// <returns>Operations on names that were lost, and files whose content differs.</returns>
    public (int LostNames, int ChangedFiles) Cut(UnflushedFate fate, string before)
    {
        if (Directory.Exists(before))
            Directory.Delete(before, recursive: true);
        var operations = NameOperation.ReadLog(StableStorage.LogFile(record));
        var (tree, lost) = Survivors(operations, fate);
        var paths = new Dictionary<long, string>();
        var current = new NameTree();
        foreach (var operation in operations)
            current.Apply(operation);
        Directory.Move(root, before);
        Collect(current.Root, before, paths);
        var changed = 0;
        Write(tree.Root, root, paths, fate, ref changed);
        Directory.Delete(record, recursive: true);
        return (lost, changed);
    }

    private (NameTree Tree, int Lost) Survivors(List<NameOperation> operations, UnflushedFate fate)
    {
        var flushedAt = new Dictionary<long, int>();
        var allAt = -1;
        for (var i = 0; i < operations.Count; i++)
        {
            if (operations[i].Kind == 'F')
                flushedAt[operations[i].From] = i;
            else if (operations[i].Kind == 'A')
                allAt = i;
        }

        bool IsFlushed(int i) => i < allAt || i < flushedAt.GetValueOrDefault(operations[i].From, -1)
            || (operations[i].Kind == 'R' && i < flushedAt.GetValueOrDefault(operations[i].To, -1));
        var first = Enumerable.Range(0, operations.Count).FirstOrDefault(i => !IsFlushed(i), operations.Count);
        var keptBefore = fate switch
        {
            UnflushedFate.Lost => 0,
            UnflushedFate.Mixed => random.Next(first, operations.Count + 1),
            _ => operations.Count,
        };
        var tree = new NameTree();
        var lost = 0;
        for (var i = 0; i < operations.Count; i++)
        {
            tree.Declare(operations[i]);
            if (i < keptBefore || IsFlushed(i))
                tree.Apply(operations[i]);
            else if (operations[i].Kind is not ('F' or 'A'))
                lost++;
        }

        return (tree, lost);
    }

    private static void Collect(StableNode directory, string path, Dictionary<long, string> paths)
    {
        foreach (var (name, node) in directory.Children)
        {
            paths[node.Id] = Path.Combine(path, name);
            if (node.IsDirectory)
                Collect(node, paths[node.Id], paths);
        }
    }

    private void Write(
        StableNode directory, string path, Dictionary<long, string> paths, UnflushedFate fate, ref int changed)
    {
        Directory.CreateDirectory(path);
        foreach (var (name, node) in directory.Children)
        {
            var target = Path.Combine(path, name);
            if (node.IsDirectory)
            {
                Write(node, target, paths, fate, ref changed);
                continue;
            }

            var flushed = ReadOrEmpty(StableStorage.ContentFile(record, node.Id));
            var written = paths.TryGetValue(node.Id, out var now) ? ReadOrEmpty(now) : flushed;
            var content = Choose(flushed, written, fate);
            if (!content.AsSpan().SequenceEqual(written))
                changed++;
            File.WriteAllBytes(target, content);
        }
    }

    private static byte[] ReadOrEmpty(string path) => File.Exists(path) ? File.ReadAllBytes(path) : [];

    private byte[] Choose(byte[] flushed, byte[] written, UnflushedFate fate)
    {
        if (fate == UnflushedFate.Kept || flushed.AsSpan().SequenceEqual(written))
            return written;
        if (fate != UnflushedFate.Mixed)
            return flushed;
        return random.Next(4) switch
        {
            0 => flushed,
            1 => written,
            2 => Sectors(flushed, written, written.Length),
            _ => Sectors(
                flushed,
                written,
                random.Next(Math.Min(flushed.Length, written.Length), Math.Max(flushed.Length, written.Length) + 1)),
        };
    }

    private byte[] Sectors(byte[] flushed, byte[] written, int length)
    {
        var result = new byte[length];
        var chance = random.NextDouble();
        for (var position = 0; position < length; position += SectorSize)
        {
            var source = random.NextDouble() < chance ? written : flushed;
            var count = Math.Min(Math.Min(SectorSize, length - position), source.Length - position);
            if (count > 0)
                source.AsSpan(position, count).CopyTo(result.AsSpan(position));
        }

        return result;
    }
}
