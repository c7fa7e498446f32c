using KBroker.Cluster.Configuration;
using KBroker.Cluster.Metadata;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;

namespace KBroker.Coordination.Tests.Harness;

/// <summary>
/// Drives a shard by hand: its clock, its metadata, its log (a list), its timers. Every step runs at once, and every
/// answer is given at the end of its step. <see cref="Reload"/> is what a restart of the broker would do.
/// </summary>
/// <typeparam name="TState">The shard's state.</typeparam>
internal abstract class StateDriver<TState>
    where TState : class, ICoordinatorState
{
    private readonly Dictionary<string, (long DueMs, long Order, Action<ICoordinatorTurn> Step)> _timers = [];
    private readonly Dictionary<string, Action> _aside = [];
    private long _order;

    protected StateDriver(params (string Name, string Value)[] brokerConfigs) =>
        Configs = new ConfigView(new BrokerConfigValues(
            ConfigCatalog.Default, brokerConfigs.ToDictionary(static c => c.Name, static c => c.Value)), 1);

    /// <summary>The configs in force; give it metadata for dynamic ones.</summary>
    public ConfigView Configs { get; }

    /// <summary>The shard under test.</summary>
    public TState Shard { get => field ??= Create(); private set; }

    /// <summary>Epoch milliseconds.</summary>
    public long NowMs { get; private set; } = 1_000_000;

    /// <summary>The metadata that steps see; see <see cref="SetMetadata"/>.</summary>
    public MetadataImage Metadata { get; private set; } = MetadataImage.Empty;

    /// <summary>Everything that was appended.</summary>
    public List<(ReplayContext Context, CoordinatorRecord Record)> Log { get; } = [];

    /// <summary>Keys of the timers that wait.</summary>
    public IReadOnlyCollection<string> Timers => _timers.Keys;

    /// <summary>Whether work that runs beside the shard waits until <see cref="RunAsideNow"/>.</summary>
    public bool HoldsAside { get; set; }

    /// <summary>Runs a step that answers by a reply.</summary>
    public Task<T> Run<T>(Action<TState, ICoordinatorTurn, Reply<T>> step)
    {
        var reply = new Reply<T>();
        try
        {
            InTurn(turn => step(Shard, turn, reply));
        }
        catch (CoordinatorException refused)
        {
            reply.Fail(refused.Error, refused.ClientMessage);
        }

        return reply.Task;
    }

    /// <summary>Runs a step and gives what it returns.</summary>
    public T Run<T>(Func<TState, ICoordinatorTurn, T> step)
    {
        T result = default!;
        InTurn(turn => result = step(Shard, turn));
        return result;
    }

    /// <summary>Lets time pass; timers run when they are due, in order.</summary>
    public void Advance(long milliseconds)
    {
        var end = NowMs + milliseconds;
        while (_timers.Count > 0)
        {
            var (key, timer) = _timers.MinBy(static t => (t.Value.DueMs, t.Value.Order));
            if (timer.DueMs > end)
                break;
            NowMs = Math.Max(NowMs, timer.DueMs);
            _timers.Remove(key);
            InTurn(timer.Step);
        }

        NowMs = end;
    }

    /// <summary>Runs the work that waits beside the shard.</summary>
    public void RunAsideNow()
    {
        foreach (var work in _aside.Values.ToList())
            work();
    }

    /// <summary>Puts other metadata in force and tells the shard.</summary>
    public void SetMetadata(MetadataImage image, MetadataDelta? delta = null)
    {
        var update = new MetadataUpdate(Metadata, image, delta);
        Metadata = image;
        Configs.OnMetadata(update);
        InTurn(turn => Shard.OnMetadata(turn, update));
    }

    /// <summary>A new shard from the log, as after a restart: timers and waiting clients are gone.</summary>
    public TState Reload()
    {
        Shard.OnUnloaded(ErrorCode.NotCoordinator);
        _timers.Clear();
        _aside.Clear();
        Shard = Replayed();
        InTurn(Shard.OnLoaded);
        return Shard;
    }

    /// <summary>A second shard from the same log, for comparison; the first one goes on.</summary>
    public TState Replayed()
    {
        var shard = Create();
        foreach (var (context, record) in Log)
            shard.Replay(context, record.Key, record.Value);
        return shard;
    }

    /// <summary>An empty state.</summary>
    protected abstract TState Create();

    private void InTurn(Action<ICoordinatorTurn> step)
    {
        var turn = new Turn(this);
        step(turn);
        turn.End();
    }

    private sealed class Turn(StateDriver<TState> driver) : ICoordinatorTurn
    {
        private readonly List<Action> _answers = [];

        public long NowMs { get; } = driver.NowMs;

        public MetadataImage Metadata { get; } = driver.Metadata;

        public void Append(in CoordinatorRecord record)
        {
            AppendOnly(record);
            driver.Shard.Replay(driver.Log[^1].Context, record.Key, record.Value);
        }

        public void AppendOnly(in CoordinatorRecord record) =>
            driver.Log.Add((new ReplayContext(driver.Log.Count), record));

        public void Send<T>(Reply<T> reply, T response) => _answers.Add(() => reply.Release(response));

        public void Schedule(string key, long delayMs, Action<ICoordinatorTurn> step) =>
            driver._timers[key] = (driver.NowMs + Math.Max(0, delayMs), ++driver._order, step);

        public void Cancel(string key)
        {
            driver._timers.Remove(key);
            driver._aside.Remove(key);
        }

        public void RunAside<T>(string key, Func<T> work, Action<ICoordinatorTurn, T?, Exception?> step)
        {
            driver._aside[key] = () =>
            {
                driver._aside.Remove(key);
                T? result = default;
                Exception? failure = null;
                try
                {
                    result = work();
                }
                catch (Exception thrown)
                {
                    failure = thrown;
                }

                driver.InTurn(turn => step(turn, result, failure));
            };
        }

        public void End()
        {
            foreach (var answer in _answers)
                answer();
            if (!driver.HoldsAside)
                driver.RunAsideNow();
        }
    }
}
