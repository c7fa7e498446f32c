using System.Net.Sockets;
using KBroker.Crash.Load;
using KBroker.Crash.Transactions;
using KBroker.Protocol;

namespace KBroker.Crash.Delays;

/// <summary>Deletes records (DeleteRecords) that a reader has had, pending ones among them.</summary>
internal sealed class DelayTrimmer : TransactionClient
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(60);
    private readonly int _port;
    private readonly IReadOnlyList<DelayView> _views;
    private readonly Problems _problems;
    private readonly Random _random;
    private readonly Dictionary<Place, long> _starts = [];
    private Wire? _wire;
    private long _refused;

    public DelayTrimmer(int port, IReadOnlyList<DelayView> views, Problems problems, int seed)
        : base("trimmer")
    {
        (_port, _views, _problems, _random) = (port, views, problems, new Random(seed));
        Doing = "DeleteRecords";
        Start();
    }

    /// <summary>Deletions that the broker refused, because what is pending could not be saved.</summary>
    public long Refused => Interlocked.Read(ref _refused);

    protected override bool IsDecided => true;

    protected override void Step()
    {
        var view = _views[_random.Next(_views.Count)];
        // Behind the reader, so that everything that is deleted is known; mostly behind most of what is pending.
        var from = _starts.GetValueOrDefault(view.Place);
        var offset = from + (long)((view.ReadTo - from) * _random.NextDouble());
        try
        {
            if (offset > from)
            {
                _wire ??= new Wire(_port);
                _starts[view.Place] = _wire.DeleteRecords(view.Place.Topic, view.Place.Partition, offset);
                CountCommit();
            }
        }
        catch (Exception e) when (e is SocketException or IOException)
        {
            _wire?.Dispose();
            _wire = null;
        }
        catch (WireException e)
        {
            if (e.Error is ErrorCode.OffsetOutOfRange)
                _problems.Add($"{Name}: {e.Message}: below {view.ReadTo}, which a reader had");
            Interlocked.Increment(ref _refused);
        }

        Thread.Sleep(Pause);
    }

    protected override void Close() => _wire?.Dispose();
}
