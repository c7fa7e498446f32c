using Microsoft.Win32.SafeHandles;

namespace KBroker.Storage.Tests;

/// <summary>
/// Knows what of a directory tree would be there after a power cut, while the real tree holds what a running system
/// sees: names since the last flush of their directory, bytes since the last flush of their file.
/// </summary>
/// <remarks>
/// A node is a file or directory whatever its name. A directory has two tables of names, the current one and the
/// stable one, and the list of changes that lead from one to the other. Whatever is deleted or replaced waits in a
/// trash folder until no stable table names it, so that it can come back. A file has a stable length, and an undo list
/// of the bytes below that length that were overwritten or cut off since.
/// Example: <c>a.tmp</c> is created, written, flushed, and renamed to <c>a</c>, which existed. Stable are: the old
/// <c>a</c>. Pending: {a.tmp: new}, then {a.tmp: none, a: new}. A cut now takes the new file away and brings the old
/// one back; after the directory's flush it leaves the new one.
/// </remarks>
internal sealed class StableStorageModel(string? trashParent = null)
{
    private readonly Lock _lock = new();
    private readonly Node _root = new() { IsDirectory = true };
    private string? _trash;
    private int _trashed;

    /// <summary>The file or directory of a name, which exists.</summary>
    public Node Find(string path)
    {
        lock (_lock)
            return FindNode(path);
    }

    /// <summary>Notes a new file or directory, which exists by now.</summary>
    public Node Created(string path, bool isDirectory)
    {
        lock (_lock)
        {
            var parent = FindNode(Path.GetDirectoryName(path)!);
            var node = new Node { IsDirectory = isDirectory, Parent = parent, Name = Path.GetFileName(path) };
            parent.Change((node.Name, node));
            return node;
        }
    }

    /// <summary>Takes a file or directory out of sight, instead of deleting it.</summary>
    public void Delete(string path)
    {
        lock (_lock)
        {
            var node = FindNode(path);
            var parent = node.Parent!;
            Discard(node);
            parent.Change((Path.GetFileName(path), null));
        }
    }

    /// <summary>Renames, with an existing file of the new name out of sight.</summary>
    public void Rename(string from, string to, Action rename)
    {
        lock (_lock)
        {
            var node = FindNode(from);
            var target = FindNode(Path.GetDirectoryName(to)!);
            var name = Path.GetFileName(to);
            if (File.Exists(to) && FindNode(to) is var replaced && replaced != node)
                Discard(replaced);
            rename();
            var source = node.Parent!;
            if (source == target)
            {
                source.Change((node.Name, null), (name, node));
            }
            else
            {
                source.Change((node.Name, null));
                target.Change((name, node));
            }

            (node.Parent, node.Name) = (target, name);
        }
    }

    /// <summary>Makes the names of a directory stable.</summary>
    public void FlushDirectory(string path)
    {
        lock (_lock)
        {
            var directory = FindNode(path);
            directory.MakeStable(directory.Pending.Count);
            EmptyTrash(_root);
        }
    }

    /// <summary>Makes everything stable, as a flush of the whole file system does.</summary>
    public void FlushAll()
    {
        lock (_lock)
        {
            foreach (var node in Reachable().ToList())
            {
                if (node.IsDirectory)
                    node.MakeStable(node.Pending.Count);
                else if (!node.IsPoisoned)
                    (node.StableLength, node.Undo) = (LengthOf(node), []);
            }

            EmptyTrash(_root);
        }
    }

    /// <summary>A flush of everything failed because of files in here: what was not stable is lost.</summary>
    public void FlushAllFailed()
    {
        lock (_lock)
        {
            foreach (var node in Reachable())
            {
                if (!node.IsDirectory && (node.Undo.Count > 0 || LengthOf(node) != node.StableLength))
                    (node.IsPoisoned, node.HasUnseenError) = (true, true);
            }
        }
    }

    /// <summary>A flush of a file, which may fail.</summary>
    /// <param name="node">The file.</param>
    /// <param name="length">Its length now.</param>
    /// <param name="flush">The flush; when it throws, the bytes of the moment never become stable any more.</param>
    public void FlushFile(Node node, Func<long> length, Action flush)
    {
        int undo;
        long end;
        lock (_lock)
        {
            if (node.HasUnseenError)
            {
                node.HasUnseenError = false;
                throw new IOException("fdatasync: an earlier writeback failed");
            }

            (undo, end) = (node.Undo.Count, length());
        }

        try
        {
            flush();
        }
        catch
        {
            lock (_lock)
                node.IsPoisoned = true;
            throw;
        }

        lock (_lock)
        {
            if (node.IsPoisoned)
                return;
            node.StableLength = Math.Min(end, length());
            node.Undo.RemoveRange(0, Math.Min(undo, node.Undo.Count));
        }
    }

    /// <summary>Remembers stable bytes that are about to change.</summary>
    public void Overwriting(Node node, long position, long count, Func<long, int, byte[]> read)
    {
        lock (_lock)
        {
            var lost = Math.Min(node.StableLength, position + count) - position;
            if (lost > 0)
                node.Undo.Add(new Undo(position, read(position, (int)lost)));
        }
    }

    /// <summary>Brings the real tree to what is stable. All files are closed.</summary>
    /// <param name="luck">Decides how much of what is not stable is there all the same; null: nothing.</param>
    /// <param name="outOfOrder">Names that are not stable may be there without those changed before them, which no
    /// journal would do, but nothing promises.</param>
    public void CutPower(Random? luck, bool outOfOrder = false)
    {
        lock (_lock)
        {
            foreach (var node in Reachable().ToList())
            {
                if (outOfOrder && luck is not null && node.IsDirectory)
                {
                    node.Pending.RemoveAll(_ => luck.Next(2) == 0);
                    node.MakeStable(node.Pending.Count);
                }

                TryLuck(node, luck);
            }

            foreach (var directory in Reachable().Where(static n => n.IsDirectory).ToList())
            {
                foreach (var (name, node) in directory.Current.ToList())
                {
                    if (directory.Stable.GetValueOrDefault(name) != node)
                        Discard(node);
                }
            }

            Restore(_root);
            EmptyTrash(_root);
            _root.Current.Clear();
            _root.Stable.Clear();
            DeleteTrash();
        }
    }

    /// <summary>Deletes what was deleted and could still have come back.</summary>
    public void DeleteTrash()
    {
        lock (_lock)
        {
            if (_trash is not null)
                Directory.Delete(_trash, recursive: true);
            _trash = null;
        }
    }

    private static void TryLuck(Node node, Random? luck)
    {
        if (node.IsDirectory)
        {
            node.MakeStable(luck?.Next(node.Pending.Count + 1) ?? 0);
            node.Pending.Clear();
        }
        else if (luck is not null && !node.IsPoisoned && LengthOf(node) is var length)
        {
            if (node.Undo.Count == 0 && length > node.StableLength)
                node.StableLength = luck.NextInt64(node.StableLength, length + 1);
            else if (luck.Next(2) == 0)
                (node.StableLength, node.Undo) = (length, []);
        }
    }

    private static long LengthOf(Node node) => new FileInfo(node.RealPath()) is { Exists: true } file ? file.Length : 0;

    private void Restore(Node directory)
    {
        foreach (var (name, node) in directory.Stable)
        {
            var path = Path.Combine(directory.RealPath(), name);
            if (node.TrashPath is not null)
            {
                Directory.CreateDirectory(directory.RealPath());
                Directory.Move(node.RealPath(), path);
                (node.Parent, node.Name, node.TrashPath) = (directory, name, null);
            }

            if (node.IsDirectory)
                Restore(node);
            else if (File.Exists(path))
                RestoreContent(path, node);
        }

        directory.Current = new Dictionary<string, Node>(directory.Stable);
    }

    private static void RestoreContent(string path, Node node)
    {
        using var file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite);
        if (RandomAccess.GetLength(file) > node.StableLength)
            RandomAccess.SetLength(file, node.StableLength);
        Revert(file, node.Undo);
    }

    private static void Revert(SafeFileHandle file, List<Undo> changes)
    {
        for (var i = changes.Count - 1; i >= 0; i--)
            RandomAccess.Write(file, changes[i].Bytes, changes[i].Position);
    }

    private IEnumerable<Node> Reachable()
    {
        var seen = new HashSet<Node> { _root };
        var waiting = new Queue<Node>(seen);
        while (waiting.TryDequeue(out var node))
        {
            yield return node;
            foreach (var child in node.Current.Values.Concat(node.Stable.Values))
            {
                if (seen.Add(child))
                    waiting.Enqueue(child);
            }
        }
    }

    private Node FindNode(string path)
    {
        if (Path.GetDirectoryName(path) is not { } parentPath)
            return _root;
        var parent = FindNode(parentPath);
        var name = Path.GetFileName(path);
        if (parent.Current.TryGetValue(name, out var known))
            return known;
        // It was there before anybody looked, and so it is stable.
        var isDirectory = Directory.Exists(path);
        var node = new Node
        {
            IsDirectory = isDirectory,
            Parent = parent,
            Name = name,
            StableLength = isDirectory || !File.Exists(path) ? 0 : new FileInfo(path).Length,
        };
        parent.Current[name] = node;
        parent.Stable[name] = node;
        return node;
    }

    private void Discard(Node node)
    {
        _trash ??= Directory.CreateDirectory(
            Path.Combine(trashParent ?? Path.GetTempPath(), $"kbroker-unstable-{Guid.NewGuid():N}")).FullName;
        var path = Path.Combine(_trash, $"{_trashed++}");
        var real = node.RealPath();
        if (node.IsDirectory ? Directory.Exists(real) : File.Exists(real))
            Directory.Move(real, path);
        (node.TrashPath, node.Parent) = (path, null);
    }

    private void EmptyTrash(Node root)
    {
        if (_trash is null)
            return;
        var kept = new HashSet<string>();
        foreach (var node in Reachable().Concat(root.Current.Values))
        {
            if (node.TrashPath is not null)
                kept.Add(node.TrashPath);
            foreach (var (_, pending) in node.Pending.SelectMany(static c => c))
            {
                if (pending?.TrashPath is { } path)
                    kept.Add(path);
            }
        }

        foreach (var entry in Directory.GetFileSystemEntries(_trash))
        {
            if (kept.Contains(entry))
                continue;
            if (Directory.Exists(entry))
                Directory.Delete(entry, recursive: true);
            else
                File.Delete(entry);
        }
    }

    /// <summary>A file or a directory.</summary>
    internal sealed class Node
    {
        public bool IsDirectory { get; init; }

        public Node? Parent { get; set; }

        public string Name { get; set; } = "/";

        public string? TrashPath { get; set; }

        public Dictionary<string, Node> Current { get; set; } = [];

        public Dictionary<string, Node> Stable { get; } = [];

        public List<(string Name, Node? Node)[]> Pending { get; } = [];

        public long StableLength { get; set; }

        public List<Undo> Undo { get; set; } = [];

        /// <summary>A flush failed: the kernel has forgotten that the bytes are not on the disk.</summary>
        public bool IsPoisoned { get; set; }

        /// <summary>The next flush of the file reports a failure.</summary>
        public bool HasUnseenError { get; set; }

        public string RealPath() => TrashPath ?? (Parent is null ? "/" : Path.Combine(Parent.RealPath(), Name));

        public void Change(params (string Name, Node? Node)[] change)
        {
            Pending.Add(change);
            Apply(Current, change);
        }

        public void MakeStable(int changes)
        {
            foreach (var change in Pending.Take(changes))
                Apply(Stable, change);
            Pending.RemoveRange(0, changes);
        }

        private static void Apply(Dictionary<string, Node> names, (string Name, Node? Node)[] change)
        {
            foreach (var (name, node) in change)
            {
                if (node is null)
                    names.Remove(name);
                else
                    names[name] = node;
            }
        }
    }

    /// <summary>Stable bytes that were overwritten.</summary>
    internal readonly record struct Undo(long Position, byte[] Bytes);
}
