using System.Globalization;

namespace KBroker.Crash.PowerCut;

/// <summary>A file or directory of the recorded disk.</summary>
internal sealed class StableNode(long id, bool isDirectory)
{
    private long _dirtyFrom;

    /// <summary>Its number; the root is 0.</summary>
    public long Id => id;

    /// <summary>Whether it is a directory.</summary>
    public bool IsDirectory => isDirectory;

    /// <summary>What a directory holds, by name.</summary>
    public SortedDictionary<string, StableNode> Children { get; } = new(StringComparer.Ordinal);

    /// <summary>Held while its content is copied.</summary>
    public Lock CopyLock { get; } = new();

    /// <summary>Notes that bytes from a position on are not flushed.</summary>
    public void Touch(long position)
    {
        long known;
        while ((known = Volatile.Read(ref _dirtyFrom)) > position)
        {
            if (Interlocked.CompareExchange(ref _dirtyFrom, position, known) == known)
                return;
        }
    }

    /// <summary>Where unflushed bytes begin; from now on there are none.</summary>
    public long TakeDirty() => Interlocked.Exchange(ref _dirtyFrom, long.MaxValue);
}

/// <summary>One line of the log of names.</summary>
internal readonly record struct NameOperation(char Kind, long From, long To, long Node, string Name, string NewName)
{
    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture, $"{Kind}\t{From}\t{To}\t{Node}\t{Name}\t{NewName}\n");

    public static NameOperation Parse(string line)
    {
        var fields = line.Split('\t');
        return new NameOperation(
            fields[0][0], Number(fields[1]), Number(fields[2]), Number(fields[3]), fields[4], fields[5]);

        static long Number(string text) => long.Parse(text, CultureInfo.InvariantCulture);
    }

    /// <summary>The lines of a log. A last line without its end was not finished and counts for nothing.</summary>
    public static List<NameOperation> ReadLog(string file)
    {
        var text = File.ReadAllText(file);
        var operations = new List<NameOperation>();
        foreach (var line in text[..(text.LastIndexOf('\n') + 1)].Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            var operation = Parse(line);
            if (operation.Kind == 'U')
                operations.RemoveAt(operations.Count - 1);
            else
                operations.Add(operation);
        }

        return operations;
    }
}

/// <summary>Names and what they stand for: the result of a row of operations.</summary>
internal sealed class NameTree
{
    private readonly Dictionary<long, StableNode> _nodes = [];

    public NameTree() => _nodes[0] = Root;

    /// <summary>The directory that is the disk.</summary>
    public StableNode Root { get; } = new(0, isDirectory: true);

    /// <summary>A number that no node has yet.</summary>
    public long NextId => _nodes.Count;

    /// <summary>Every node that ever was.</summary>
    public StableNode this[long id] => _nodes[id];

    /// <summary>Makes a node known without giving it a name.</summary>
    public void Declare(in NameOperation operation)
    {
        if (operation.Kind is 'C' or 'M')
            _nodes.TryAdd(operation.Node, new StableNode(operation.Node, operation.Kind == 'M'));
    }

    /// <summary>Does an operation. One that removes a name which is not there, or another's, does nothing.</summary>
    public void Apply(in NameOperation operation)
    {
        Declare(operation);
        switch (operation.Kind)
        {
            case 'C' or 'M':
                _nodes[operation.From].Children[operation.Name] = _nodes[operation.Node];
                break;
            case 'D':
                Remove(operation);
                break;
            case 'R':
                Remove(operation);
                _nodes[operation.To].Children[operation.NewName] = _nodes[operation.Node];
                break;
        }
    }

    private void Remove(in NameOperation operation)
    {
        var children = _nodes[operation.From].Children;
        if (children.TryGetValue(operation.Name, out var node) && node.Id == operation.Node)
            children.Remove(operation.Name);
    }
}
