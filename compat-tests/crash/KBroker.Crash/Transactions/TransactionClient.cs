namespace KBroker.Crash.Transactions;

/// <summary>A client that runs transactions on a thread of its own, and rests between two of them when it is told.</summary>
internal abstract class TransactionClient : IDisposable
{
    private static readonly TimeSpan Rest = TimeSpan.FromMilliseconds(3);
    private readonly Thread _thread;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);
    private const int LogLinesKept = 80;
    private readonly Queue<string> _log = new();
    private volatile bool _held;
    private volatile bool _resting;
    private volatile bool _stopping;
    private long _committed;

    protected TransactionClient(string name)
    {
        Name = name;
        _thread = new Thread(Run) { IsBackground = true, Name = name };
    }

    public string Name { get; }

    /// <summary>Transactions whose commit was acknowledged.</summary>
    public long Committed => Interlocked.Read(ref _committed);

    /// <summary>Whether it rests behind the end of a transaction, with everything it sent decided.</summary>
    public bool IsResting => _resting;

    /// <summary>What it does, for whoever waits in vain.</summary>
    public virtual string Doing { get; protected set; } = "";

    /// <summary>The last lines of the client library's log, for who looks for a bug.</summary>
    public IReadOnlyList<string> Log
    {
        get
        {
            lock (_log)
                return [.. _log];
        }
    }

    protected bool IsStopping => _stopping;

    /// <summary>Ends its transaction, and begins no other until <see cref="Resume"/>.</summary>
    public void Hold() => _held = true;

    /// <summary>Goes on.</summary>
    public void Resume()
    {
        _resting = false;
        _held = false;
    }

    /// <summary>The log may end before what this client has read.</summary>
    public virtual void PowerCut()
    {
    }

    public void Dispose()
    {
        _stopping = true;
        // librdkafka's SendOffsetsToTransaction does not come back, whatever its timeout, when the broker never does: such
        // a client is left to the end of the process.
        _thread.Join(Patience);
    }

    protected void Start() => _thread.Start();

    /// <summary>One transaction, and whatever must be done before it; may return with one that is not decided.</summary>
    protected abstract void Step();

    /// <summary>Whether nothing that it began is undecided.</summary>
    protected abstract bool IsDecided { get; }

    /// <summary>Lets go of the client library; on the client's own thread, which is at its end.</summary>
    protected abstract void Close();

    /// <summary>Notes a line of the client library's log.</summary>
    protected void Note(string line)
    {
        lock (_log)
        {
            _log.Enqueue($"{TimeProvider.System.GetLocalNow():HH:mm:ss.fff} {line}");
            if (_log.Count > LogLinesKept)
                _log.Dequeue();
        }
    }

    protected void CountCommit() => Interlocked.Increment(ref _committed);

    private void Run()
    {
        while (!_stopping)
        {
            if (_held && IsDecided)
            {
                _resting = true;
                Thread.Sleep(Rest);
                continue;
            }

            Step();
        }

        Close();
    }
}
