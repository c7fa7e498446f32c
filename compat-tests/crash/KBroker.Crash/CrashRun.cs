using System.Text.RegularExpressions;
using KBroker.Crash.Delays;
using KBroker.Crash.History;
using KBroker.Crash.Load;
using KBroker.Crash.PowerCut;
using KBroker.Crash.Transactions;

namespace KBroker.Crash;

/// <summary>Whose clients work.</summary>
internal enum LoadKind
{
    Records,
    Transactions,
    Delays,
}

/// <summary>Lets the broker live and die, cycle after cycle, and looks at it after each death.</summary>
internal sealed class CrashRun : IDisposable
{
    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan PlaceLimit = TimeSpan.FromSeconds(90);
    private static readonly TimeSpan StopLimit = TimeSpan.FromSeconds(90);

    private readonly CrashOptions _options;
    private readonly LoadKind _load;
    private readonly Random _random;
    private readonly string _directory;
    private readonly BrokerUnderTest _broker;
    private readonly Problems _problems = new();
    private readonly List<PartitionHistory> _bad = [];
    private readonly HashSet<string> _passed = [];
    private readonly SortedDictionary<string, long> _counts = new(StringComparer.Ordinal);
    private ICrashLoad? _clients;
    private int _generation;
    private int _cyclesOfGeneration;
    private long _ackedByFormer;

    public CrashRun(CrashOptions options, int seed, LoadKind load)
    {
        (_options, _load) = (options, load);
        _random = new Random(seed);
        _directory = Directory.CreateTempSubdirectory("kbroker-crash-").FullName;
        _broker = new BrokerUnderTest(
            options.Executable, _directory, BrokerUnderTest.FreePort(new Random()), options.Properties);
    }

    /// <summary>Where everything of this run is.</summary>
    public string DataDirectory => _directory;

    /// <summary>Whether nothing was found so far.</summary>
    public bool IsGood => _problems.Count == 0;

    public int ProblemCount => _problems.Count;

    /// <summary>Records acknowledged so far.</summary>
    public long Acked => _ackedByFormer + (_clients?.Acked ?? 0);

    /// <summary>What was done and found so far.</summary>
    public SortedDictionary<string, long> Counts
    {
        get
        {
            var counts = new SortedDictionary<string, long>(_counts, StringComparer.Ordinal);
            if (_clients is not null)
                Add(counts, _clients.Counts);
            return counts;
        }
    }

    /// <summary>Adds what somebody else has counted.</summary>
    public static void Add(IDictionary<string, long> counts, IReadOnlyDictionary<string, long> more)
    {
        foreach (var (name, count) in more)
            counts[name] = (counts.TryGetValue(name, out var before) ? before : 0) + count;
    }

    /// <summary>Places at which the broker has died.</summary>
    public IReadOnlySet<string> Passed => _passed;

    /// <summary>One life of the broker, from its start to its death, and the look at what the death before left.</summary>
    public void Cycle(CyclePlan plan)
    {
        try
        {
            if (plan.Place is { By: PassedBy.StartAfterStop })
                Live(new CyclePlan(Death.Stop, 50, null, 0, null));
            if (plan.Place is { Name: "move.recovered" })
                Live(plan with { Place = new CrashPlace("move.source-flushed", PassedBy.Move), Pass = 1 });
            if (IsGood)
                Live(plan);
        }
        catch (Exception e) when (e is TimeoutException or InvalidDataException or WireException or IOException
            or System.Net.Sockets.SocketException or Protocol.Records.RecordException)
        {
            _problems.Add($"{plan}: {e.GetType().Name}: {e.Message}");
        }
    }

    /// <summary>A last start, and a last look with everything acknowledged.</summary>
    public void Finish()
    {
        if (!IsGood)
            return;
        Cycle(new CyclePlan(Death.Stop, 0, null, 0, null));
    }

    /// <summary>All that is known about what was found.</summary>
    public string Report()
    {
        // A broker that lives may have something to say about it, and its log is a little behind.
        if (_broker.IsRunning)
            _broker.WaitForExit(TimeSpan.FromSeconds(1));
        var text = new StringWriter();
        foreach (var problem in _problems.All.Take(30))
            text.WriteLine($"  VIOLATION {problem}");
        foreach (var partition in _bad.Distinct().Take(4))
        {
            text.WriteLine($"-- {partition.Name}");
            foreach (var line in partition.Events)
                text.WriteLine($"  {line}");
            foreach (var offset in OffsetsNamed(partition.Name).Distinct().Take(3))
            {
                text.WriteLine($"  around offset {offset}:");
                foreach (var line in partition.Around(offset, 6))
                    text.WriteLine($"  {line}");
            }
        }

        if (_clients is not null)
            text.WriteLine($"-- {_clients.Describe()}");
        text.WriteLine("-- the broker's log ends with");
        text.WriteLine(_broker.LogTail);
        text.WriteLine($"-- data: {_directory} (a power cut leaves what was before it in disk.before)");
        return text.ToString();
    }

    public void Dispose()
    {
        _clients?.Dispose();
        _broker.Dispose();
        if (IsGood && !_options.Keep)
            Directory.Delete(_directory, recursive: true);
    }

    private IEnumerable<long> OffsetsNamed(string partition) => _problems.All
        .Where(p => p.StartsWith(partition, StringComparison.Ordinal))
        .SelectMany(p => Regex.Matches(p, "offset ([0-9]+)").Select(m => long.Parse(m.Groups[1].Value)));

    private void Live(CyclePlan plan)
    {
        Prepare(plan);
        _broker.Start(plan.CrashAt);
        if (plan.Death == Death.KillStarting)
            _broker.WaitForExit(TimeSpan.FromMilliseconds(plan.AfterMs));
        else if (_broker.WaitUntilReady(StartLimit))
            Work(plan);
        End(plan);
    }

    /// <summary>Brings the files into the state that a place needs.</summary>
    private void Prepare(CyclePlan plan)
    {
        if (plan.Fate is not null && _broker.PowerCutRecord is null)
            throw new InvalidOperationException("a power cut wants its record from the first start on");
        switch (plan.Place?.Name)
        {
            case "open.stray-renamed":
                Directory.CreateDirectory(Path.Combine(_broker.LogDirectories[0], "ghost-0"));
                break;
            case "recovery.cut":
                TearTail();
                break;
        }
    }

    /// <summary>Half a batch behind the last whole one, as a crash in the middle of a write leaves it.</summary>
    private void TearTail()
    {
        if (_clients is null)
            return;
        foreach (var directory in _broker.LogDirectories)
        {
            var partition = Path.Combine(directory, $"{_clients.TornTopic}-0");
            if (!Directory.Exists(partition))
                continue;
            var last = Directory.GetFiles(partition, "*.log").Order(StringComparer.Ordinal).Last();
            var rubbish = new byte[100];
            _random.NextBytes(rubbish);
            using var file = File.Open(last, FileMode.Append);
            file.Write(rubbish);
        }
    }

    private void Work(CyclePlan plan)
    {
        try
        {
            if (_clients is not null)
                _bad.AddRange(_clients.Check());
            if (_clients is null || (_cyclesOfGeneration >= _options.GenerationCycles && plan.Place is null))
                NextGeneration();
            if (!IsGood)
                return;
            _clients!.Resume();
            _problems.AddIfAny(_clients.WaitForProgress());
            if (plan.Place is null || plan.Place.By == PassedBy.Stop)
                _broker.WaitForExit(TimeSpan.FromMilliseconds(plan.AfterMs));
            else
                _broker.WaitForExit(PlaceLimit);
        }
        catch (Exception e) when (plan.Place is not null && e is IOException or System.Net.Sockets.SocketException)
        {
            // It has died at its place meanwhile; else End finds it alive.
            _broker.WaitForExit(TimeSpan.FromSeconds(5));
        }
    }

    private void NextGeneration()
    {
        if (_clients is not null)
        {
            _bad.AddRange(_clients.Finish());
            _ackedByFormer += _clients.Acked;
            Add(_counts, _clients.Counts);
            _clients.Dispose();
        }

        _clients = _load switch
        {
            LoadKind.Transactions =>
                new TransactionLoad(_broker, _generation++, _problems, _random, _options.Quick),
            LoadKind.Delays => new DelayLoad(
                _broker, _generation++, _problems, _random, withPowerCuts: _broker.PowerCutRecord is not null),
            _ => new Clients(_broker, _generation++, _problems, _random),
        };
        _cyclesOfGeneration = 0;
    }

    private void End(CyclePlan plan)
    {
        var isExpected = plan.Death == Death.AtPlace;
        if (!_broker.IsRunning && !isExpected)
        {
            _problems.Add($"{plan}: the broker ended by itself, with exit code {_broker.ExitCode}");
        }
        else if (plan.Death == Death.Stop || plan.Place is { By: PassedBy.Stop })
        {
            _broker.Terminate();
            if (!_broker.WaitForExit(StopLimit))
                _problems.Add($"{plan}: the broker does not stop");
            else if (plan.Death == Death.Stop && _broker.ExitCode != 0)
                _problems.Add($"{plan}: the broker stopped with exit code {_broker.ExitCode}");
        }

        if (isExpected && !_broker.WasKilled && IsGood)
            _problems.Add($"{plan}: the broker never came there");
        else if (isExpected)
            _passed.Add(plan.Place!.ToString());
        if (_broker.IsRunning)
            _broker.Kill();
        Buried(plan);
    }

    private void Buried(CyclePlan plan)
    {
        _cyclesOfGeneration++;
        // The files stay as they are for whoever looks for the bug.
        if (!IsGood)
            return;
        if (plan.Fate is { } fate)
            new PowerCutDisk(_broker.Disk, _broker.PowerCutRecord!, _random).Cut(fate, _broker.Disk + ".before");
        _clients?.BrokerDied(powerCut: plan.Fate is not null);
        if (_broker.PowerCutRecord is not null && plan.Fate is not null)
            BeginRecord();
    }

    /// <summary>From here on it is known what is on stable storage; the broker is dead.</summary>
    public void BeginRecord()
    {
        _broker.PowerCutRecord = Path.Combine(_directory, "record");
        new PowerCutDisk(_broker.Disk, _broker.PowerCutRecord, _random).Begin();
    }
}
