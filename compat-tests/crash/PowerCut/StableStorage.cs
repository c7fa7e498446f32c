using System.Globalization;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace KBroker.Crash.PowerCut;

/// <summary>
/// Writes the record that <c>PowerCutFileSystem</c> describes. Whatever has to do with names is called under a
/// lock on this object.
/// </summary>
internal sealed class StableStorage : IDisposable
{
    // Its owner lets nobody open it, and nothing is ever written to it.
    private const string LockFile = ".lock";
    private readonly string _root;
    private readonly string _record;
    private readonly SafeFileHandle _log;
    private readonly NameTree _tree = new();
    private NameOperation? _last;
    private long _logLength;

    private StableStorage(string root, string record)
    {
        (_root, _record) = (root, record);
        _log = File.OpenHandle(LogFile(record), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.ReadWrite);
        _logLength = RandomAccess.GetLength(_log);
    }

    /// <summary>The log of names of a record.</summary>
    public static string LogFile(string record) => Path.Combine(record, "names");

    /// <summary>The flushed bytes of a file; missing when it was never flushed.</summary>
    public static string ContentFile(string record, long node) =>
        Path.Combine(record, "content", node.ToString(CultureInfo.InvariantCulture));

    /// <summary>
    /// Goes on with a record, or begins one. To begin one takes a while, in which the process must not be killed: the
    /// harness does it before it starts the broker.
    /// </summary>
    public static StableStorage Open(string root, string record)
    {
        Directory.CreateDirectory(root);
        var isNew = !File.Exists(LogFile(record));
        Directory.CreateDirectory(Path.Combine(record, "content"));
        var storage = new StableStorage(root, record);
        if (isNew)
            storage.Begin(root);
        else
            storage.Resume();
        return storage;
    }

    /// <summary>The node of a path, which exists.</summary>
    public StableNode Find(string path)
    {
        var node = _tree.Root;
        foreach (var name in Path.GetRelativePath(_root, path).Split('/'))
        {
            if (name != ".")
                node = node.Children[name];
        }

        return node;
    }

    /// <summary>A file or directory is about to be created.</summary>
    public StableNode Create(string path, bool isDirectory)
    {
        var id = _tree.NextId;
        Note(new NameOperation(isDirectory ? 'M' : 'C', Parent(path), -1, id, Path.GetFileName(path), ""));
        var node = _tree[id];
        node.Touch(0);
        return node;
    }

    /// <summary>A name is about to be removed.</summary>
    public void Remove(string path) =>
        Note(new NameOperation('D', Parent(path), -1, Find(path).Id, Path.GetFileName(path), ""));

    /// <summary>A file or directory is about to be renamed.</summary>
    public void Rename(string from, string to) => Note(new NameOperation(
        'R', Parent(from), Parent(to), Find(from).Id, Path.GetFileName(from), Path.GetFileName(to)));

    /// <summary>The last operation on names failed.</summary>
    public void Undo()
    {
        Write(new NameOperation('U', -1, -1, -1, "", ""));
        Rebuild(NameOperation.ReadLog(LogFile(_record)));
    }

    /// <summary>The names of a directory are on stable storage.</summary>
    public void FlushNames(string path) => Note(new NameOperation('F', Find(path).Id, -1, -1, "", ""));

    /// <summary>Everything is.</summary>
    public void FlushAll()
    {
        FlushBelow(_tree.Root, _root);
        Note(new NameOperation('A', -1, -1, -1, "", ""));
    }

    /// <summary>The bytes of a file are.</summary>
    public void FlushContent(StableNode node, SafeFileHandle file)
    {
        lock (node.CopyLock)
        {
            var from = node.TakeDirty();
            if (from == long.MaxValue)
                return;
            var length = RandomAccess.GetLength(file);
            using var content = File.OpenHandle(
                ContentFile(_record, node.Id), FileMode.OpenOrCreate, FileAccess.ReadWrite);
            var buffer = new byte[64 * 1024];
            for (var position = Math.Min(from, RandomAccess.GetLength(content)); position < length;)
            {
                var read = RandomAccess.Read(file, buffer, position);
                if (read == 0)
                    break;
                RandomAccess.Write(content, buffer.AsSpan(0, read), position);
                position += read;
            }

            if (RandomAccess.GetLength(content) > length)
                RandomAccess.SetLength(content, length);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _log.Dispose();

    private void FlushBelow(StableNode directory, string path)
    {
        foreach (var (name, node) in directory.Children)
        {
            var child = Path.Combine(path, name);
            if (node.IsDirectory)
            {
                FlushBelow(node, child);
            }
            else if (name != LockFile && File.Exists(child))
            {
                using var file = File.OpenHandle(child, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
                FlushContent(node, file);
            }
        }
    }

    /// <summary>What is on the disk when the record begins has been there for long.</summary>
    private void Begin(string root)
    {
        foreach (var directory in Directory.EnumerateDirectories(root).Order(StringComparer.Ordinal))
            BeginDirectory(directory);
        FlushAll();
    }

    private void BeginDirectory(string path)
    {
        Create(path, isDirectory: true);
        foreach (var file in Directory.EnumerateFiles(path))
            Create(file, isDirectory: false);
        foreach (var directory in Directory.EnumerateDirectories(path))
            BeginDirectory(directory);
    }

    private void Resume()
    {
        // A line that was not finished goes, and so did not happen.
        _logLength = File.ReadAllBytes(LogFile(_record)).AsSpan().LastIndexOf((byte)'\n') + 1;
        RandomAccess.SetLength(_log, _logLength);
        var operations = NameOperation.ReadLog(LogFile(_record));
        Rebuild(operations);
        if (operations.Count > 0 && !Happened(operations[^1], operations))
            Undo();
    }

    private void Rebuild(List<NameOperation> operations)
    {
        foreach (var directory in Enumerable.Range(0, (int)_tree.NextId).Select(i => _tree[i]))
            directory.Children.Clear();
        foreach (var operation in operations)
            _tree.Apply(operation);
        _last = operations.Count > 0 ? operations[^1] : null;
    }

    /// <summary>Whether the last operation of a killed process reached the file system.</summary>
    private bool Happened(NameOperation last, List<NameOperation> operations)
    {
        var before = new NameTree();
        foreach (var operation in operations.SkipLast(1))
            before.Apply(operation);
        return last.Kind switch
        {
            'C' or 'M' => Path.Exists(Path.Combine(PathOf(before, last.From), last.Name)),
            'D' or 'R' => !Path.Exists(Path.Combine(PathOf(before, last.From), last.Name)),
            _ => true,
        };
    }

    private string PathOf(NameTree tree, long id) =>
        Search(tree.Root, _root, id) ?? throw new InvalidDataException($"{_record}: nothing leads to node {id}");

    private static string? Search(StableNode node, string path, long id)
    {
        if (node.Id == id)
            return path;
        foreach (var (name, child) in node.Children)
        {
            if (child.IsDirectory && Search(child, Path.Combine(path, name), id) is { } found)
                return found;
        }

        return null;
    }

    private long Parent(string path) => Find(Path.GetDirectoryName(path)!).Id;

    private void Note(in NameOperation operation)
    {
        // A directory is flushed again and again; once is enough when nothing came in between.
        if (operation.Kind is 'F' or 'A' && _last == operation)
            return;
        Write(operation);
        _tree.Apply(operation);
        _last = operation;
    }

    private void Write(in NameOperation operation)
    {
        var line = Encoding.UTF8.GetBytes(operation.ToString());
        RandomAccess.Write(_log, line, _logLength);
        _logLength += line.Length;
    }
}
