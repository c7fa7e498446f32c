using System.Diagnostics;
using KBroker.Storm.History;
using KBroker.Storm.Members;

namespace KBroker.Storm.Workers;

/// <summary>A process with members, seen from its parent, which can kill it.</summary>
internal sealed class WorkerProcess : IAsyncDisposable
{
    private static readonly TimeSpan StopLimit = TimeSpan.FromSeconds(60);
    private readonly GroupHistory _history;
    private readonly Process _process;
    private readonly Task _reading;
    private readonly HashSet<string> _members = [];
    private readonly HashSet<string> _leaving = [];
    private readonly Lock _lock = new();

    /// <summary>Starts the process; nobody is in it yet.</summary>
    /// <param name="history">Gets what its members tell.</param>
    public WorkerProcess(GroupHistory history)
    {
        _history = history;
        var program = Path.Combine(AppContext.BaseDirectory, "KBroker.Storm.dll");
        _process = Process.Start(new ProcessStartInfo("dotnet", [program, "worker"])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        })!;
        _reading = ReadAsync();
    }

    /// <summary>The names of the members in it that have neither ended nor been told to leave.</summary>
    public IReadOnlyList<string> Members
    {
        get
        {
            lock (_lock)
                return [.. _members];
        }
    }

    /// <summary>Lets a member join.</summary>
    public void Join(MemberSettings settings)
    {
        lock (_lock)
            _members.Add(settings.Name);
        Command($"join {settings}");
    }

    /// <summary>Lets a member leave in good order; the history says when it has.</summary>
    public void Leave(string name)
    {
        lock (_lock)
        {
            _members.Remove(name);
            _leaving.Add(name);
        }

        Command($"leave {name}");
    }

    /// <summary>Ends the process by SIGKILL, and says so of its members.</summary>
    public async Task KillAsync()
    {
        var time = TimeProvider.System.GetTimestamp();
        _process.Kill();
        await _process.WaitForExitAsync();
        await _reading;
        string[] dead;
        lock (_lock)
            dead = [.. _members, .. _leaving];
        foreach (var name in dead)
            _history.Add(new GroupEvent(time, time, name, EventKind.Killed, -1, []));
    }

    /// <summary>Lets all members leave, and the process end.</summary>
    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            Command("quit");
            using var limit = new CancellationTokenSource(StopLimit);
            try
            {
                await _process.WaitForExitAsync(limit.Token);
            }
            catch (OperationCanceledException)
            {
                _process.Kill();
            }
        }

        await _reading;
        _process.Dispose();
    }

    private void Command(string line)
    {
        try
        {
            _process.StandardInput.WriteLine(line);
            _process.StandardInput.Flush();
        }
        catch (IOException)
        {
            // It has ended; whoever waits for what should have happened says so.
        }
    }

    private async Task ReadAsync()
    {
        while (await _process.StandardOutput.ReadLineAsync() is { } line)
        {
            // The last line of a process that was killed may be torn.
            if (!line.EndsWith(" .", StringComparison.Ordinal))
                continue;
            var happened = GroupEvent.Parse(line);
            _history.Add(happened);
            if (happened.Kind is EventKind.Left or EventKind.Failed)
            {
                lock (_lock)
                {
                    _members.Remove(happened.Member);
                    _leaving.Remove(happened.Member);
                }
            }
        }
    }
}
