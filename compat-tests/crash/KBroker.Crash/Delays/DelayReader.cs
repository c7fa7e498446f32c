using System.Net.Sockets;
using KBroker.Crash.Load;
using KBroker.Crash.Transactions;

namespace KBroker.Crash.Delays;

/// <summary>Reads along, and notes when it had each record.</summary>
internal sealed class DelayReader : IDisposable
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(5);
    private readonly int _port;
    private readonly IReadOnlyDictionary<Place, DelayView> _views;
    private readonly Problems _problems;
    private readonly Thread _thread;
    private readonly ManualResetEventSlim _mayRead = new(true);
    private readonly Lock _reading = new();
    private volatile bool _stopping;
    private long _read;

    public DelayReader(int port, IReadOnlyDictionary<Place, DelayView> views, Problems problems)
    {
        (_port, _views, _problems) = (port, views, problems);
        _thread = new Thread(Run) { IsBackground = true, Name = "delays" };
        _thread.Start();
    }

    /// <summary>Records read so far.</summary>
    public long Count => Interlocked.Read(ref _read);

    /// <summary>Reads nothing until <see cref="Resume"/>, and has nothing under way.</summary>
    public void Hold()
    {
        _mayRead.Reset();
        lock (_reading)
        {
        }
    }

    public void Resume() => _mayRead.Set();

    public void Dispose()
    {
        _stopping = true;
        _mayRead.Set();
        _thread.Join();
        _mayRead.Dispose();
    }

    private void Run()
    {
        DelayWire? wire = null;
        while (!_stopping)
        {
            _mayRead.Wait();
            try
            {
                lock (_reading)
                {
                    if (!_mayRead.IsSet)
                        continue;
                    wire ??= new DelayWire(_port);
                    Read(wire);
                }
            }
            catch (Exception e) when (e is SocketException or IOException)
            {
                wire?.Dispose();
                wire = null;
                Thread.Sleep(Pause);
            }
            catch (Exception e) when (e is WireException or InvalidDataException or Protocol.Records.RecordException)
            {
                _problems.Add($"a consumer: {e.GetType().Name}: {e.Message}");
                Thread.Sleep(Pause);
            }
        }

        wire?.Dispose();
    }

    private void Read(DelayWire wire)
    {
        foreach (var (place, stretch) in wire.Fetch(_views.ToDictionary(static v => v.Key, static v => v.Value.ReadTo)))
        {
            var view = _views[place];
            if (stretch is null)
            {
                view.StartsAt(wire.StartOf(place));
                continue;
            }

            foreach (var problem in view.Take(stretch))
                _problems.Add(problem);
            Interlocked.Add(ref _read, stretch.Records.Count);
        }
    }
}
