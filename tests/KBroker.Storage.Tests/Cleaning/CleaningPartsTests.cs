using KBroker.Storage.Cleaning;
using KBroker.Storage.Segments;

namespace KBroker.Storage.Tests.Cleaning;

/// <summary>The gate, the throttle and the groups by themselves.</summary>
public sealed class CleaningPartsTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    [Fact]
    public async Task Who_pauses_a_log_stops_its_cleaning_and_waits_for_the_end()
    {
        var gate = new CleaningGate();
        using var abort = new CancellationTokenSource();
        var entered = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var cleaner = Task.Run(() =>
        {
            Assert.True(gate.TryEnter(abort));
            entered.SetResult();
            Assert.True(abort.Token.WaitHandle.WaitOne(Patience));
            gate.Exit();
        });
        await entered.Task.WaitAsync(Patience);
        Assert.False(gate.TryEnter(new CancellationTokenSource()));
        Assert.False(gate.TryPause(out _));
        Assert.False(abort.IsCancellationRequested);
        var pause = await Task.Run(gate.PauseAndWait).WaitAsync(Patience);
        await cleaner;
        Assert.False(gate.TryEnter(new CancellationTokenSource()));
        using (gate.PauseAndWait())
            pause.Dispose();
        Assert.True(gate.TryEnter(new CancellationTokenSource()));
    }

    [Fact]
    public void The_cleaner_itself_may_pause_its_log()
    {
        var gate = new CleaningGate();
        Assert.True(gate.TryEnter(new CancellationTokenSource()));
        gate.PauseAndWait().Dispose();
        Assert.True(gate.TryPause(out var pause));
        pause.Dispose();
        Assert.True(gate.IsRunning);
    }

    [Fact]
    public async Task The_throttle_waits_as_long_as_the_bytes_may_take()
    {
        var clock = new ManualClock(1_700_000_000_000);
        var throttle = new CleaningThrottle(clock, maxBytesPerSecond: 1000);
        throttle.Take(9, default);
        var waiting = Task.Run(() => throttle.Take(2000, default));
        await Until(() => clock.TimerCount == 1);
        clock.Advance(2008);
        Assert.False(waiting.IsCompleted);
        clock.Advance(1);
        await waiting.WaitAsync(Patience);
        // What was not used is not saved up.
        clock.Advance(100_000);
        using var stop = new CancellationTokenSource();
        waiting = Task.Run(() => throttle.Take(1000, stop.Token));
        await Until(() => clock.TimerCount == 1);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting.WaitAsync(Patience));
        throttle.MaxBytesPerSecond = double.MaxValue;
        throttle.Take(long.MaxValue, default);
    }

    [Fact]
    public void Small_segments_are_put_together_within_the_bounds_of_a_segment()
    {
        using var storage = new TestStorage(CleaningSample.Compacted);
        for (var i = 0; i < 10; i++)
        {
            storage.Put(("key", new string('v', 100)));
            storage.Log.RollSegment();
        }

        var segments = storage.Log.State.Segments.All[..10];
        var bytes = segments[0].SizeInBytes;
        Assert.Equal([10], Sizes(new LogConfig()));
        Assert.Equal([3, 3, 3, 1], Sizes(new LogConfig { SegmentBytes = (3 * bytes) + 1 }));
        Assert.Equal([1, 1, 1, 1, 1, 1, 1, 1, 1, 1], Sizes(new LogConfig { SegmentBytes = bytes / 2 }));
        Assert.Equal([4, 4, 2], Sizes(new LogConfig { SegmentIndexBytes = 4 * 12 }));

        int[] Sizes(LogConfig config) => [.. SegmentGroups.Of(segments, 10, config).Select(static g => g.Count)];
    }

    [Fact]
    public void A_group_does_not_span_more_offsets_than_an_index_entry_can_tell()
    {
        using var storage = new TestStorage(CleaningSample.Compacted);
        var files = storage.Files;
        using var first = LogSegment.Create(files, storage.LogPath, 5_000_000_000, 0, 0);
        using var second = LogSegment.Create(files, storage.LogPath, 5_000_000_100, 0, 0);
        using var third = LogSegment.Create(files, storage.LogPath, 5_000_000_200, 0, 0);
        foreach (var segment in new[] { first, second, third })
            segment.SetRecovered(100, 0);
        var end = 5_000_000_000L + int.MaxValue;
        Assert.Single(SegmentGroups.Of([first, second, third], end + 1, new LogConfig()));
        Assert.Equal(2, SegmentGroups.Of([first, second, third], end + 2, new LogConfig()).Count);
    }

    private static async Task Until(Func<bool> condition)
    {
        using var deadline = new CancellationTokenSource(Patience);
        while (!condition())
            await Task.Delay(1, deadline.Token);
    }
}
