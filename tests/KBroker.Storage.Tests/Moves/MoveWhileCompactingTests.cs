using System.Buffers;
using KBroker.Protocol.Records;
using KBroker.Storage.Tests.Cleaning;

namespace KBroker.Storage.Tests.Moves;

/// <summary>A compacted log that is moved back and forth while it is compacted and written to.</summary>
public sealed class MoveWhileCompactingTests
{
    private const int Wanted = 6;
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(2);

    [Fact]
    public async Task No_record_is_lost_and_no_key_comes_back()
    {
        using var dirs = new TwoDirectories(
            config: CleaningSample.Compacted with { SegmentBytes = 4_000, DeleteRetentionMs = 0 }, inline: false);
        using var limit = new CancellationTokenSource(Limit);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(limit.Token);
        int moves = 0, cleanings = 0, looks = 0;
        var moving = Task.Run(
            () =>
            {
                while (!stop.IsCancellationRequested)
                {
                    dirs.Move(dirs.Log.Directory == dirs.A ? dirs.B : dirs.A);
                    // Every other move meets a compaction that has begun; the others let one end.
                    var looked = Volatile.Read(ref looks);
                    if (Interlocked.Increment(ref moves) % 2 == 0)
                        SpinWait.SpinUntil(() => stop.IsCancellationRequested || Volatile.Read(ref looks) > looked + 1);
                }
            }, CancellationToken.None);
        var cleaning = Task.Run(
            () =>
            {
                while (!stop.IsCancellationRequested)
                {
                    if (dirs.Manager.Cleaner.CleanNext(CancellationToken.None))
                        Interlocked.Increment(ref cleanings);
                    else
                        Thread.Yield();
                    Interlocked.Increment(ref looks);
                }
            }, CancellationToken.None);

        var expected = new SortedDictionary<string, string>(StringComparer.Ordinal);
        var random = new Random(3);
        var appended = 0;
        while (appended < 1_000 || Volatile.Read(ref moves) < Wanted || Volatile.Read(ref cleanings) < Wanted)
        {
            Assert.False(limit.IsCancellationRequested, $"{moves} moves and {cleanings} cleanings in {Limit}");
            Assert.False(moving.IsCompleted || cleaning.IsCompleted, "both go on");
            // A move ends when nothing is left to copy, so it must not be outrun.
            var done = Volatile.Read(ref moves);
            if (appended % 100 == 0)
                SpinWait.SpinUntil(() => limit.IsCancellationRequested || Volatile.Read(ref moves) > done);
            Put(dirs, expected, $"k{random.Next(25)}", random.Next(6) == 0 ? null : $"v{appended}");
            appended++;
            if (appended % 20 == 0)
                dirs.Clock.Advance(100);
        }

        await stop.CancelAsync();
        await moving;
        await cleaning;
        Assert.Equal(appended, dirs.Log.LogEndOffset);
        Assert.Equal(expected, dirs.Log.ReadTable());
        Assert.False(dirs.A.IsOffline || dirs.B.IsOffline);
        Assert.Empty(dirs.Manager.Cleaner.Uncleanable);
        Assert.Single(dirs.Currents());

        // And once all is compacted that can be, and opened again.
        dirs.Log.RollSegment();
        while (dirs.Manager.Cleaner.CleanNext(CancellationToken.None))
        {
            // The next one.
        }

        dirs.Manager.Close(-1);
        dirs.Reopen();
        Assert.Equal(expected, dirs.Log.ReadTable());
        Assert.Equal(appended, dirs.Log.LogEndOffset);
    }

    /// <summary>Appends as a partition does: an append that meets a moved log goes to the new one.</summary>
    private static void Put(
        TwoDirectories dirs, SortedDictionary<string, string> expected, string key, string? value)
    {
        var batch = CleaningSample.Batch(RecordBatchOptions.Default, dirs.Clock.NowMs, (key, value));
        while (true)
        {
            try
            {
                var result = dirs.Log.AppendAsLeader(
                    new ReadOnlySequence<byte>(batch), leaderEpoch: 0, AppendOptions.Client);
                Assert.True(result.IsSuccess, result.ErrorMessage);
                break;
            }
            catch (LogMovedException)
            {
                // Nothing was written; the log in the other directory takes it.
            }
        }

        if (value is null)
            expected.Remove(key);
        else
            expected[key] = value;
    }
}
