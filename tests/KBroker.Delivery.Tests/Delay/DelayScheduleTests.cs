using KBroker.Delivery.Delay;
using KBroker.Protocol.Records;
using KBroker.Storage;
using KBroker.Storage.Tests;

namespace KBroker.Delivery.Tests.Delay;

public sealed class DelayScheduleTests
{
    [Fact]
    public void Records_that_are_due_shortly_after_others_are_delivered_in_one_batch()
    {
        using var home = new DelayHome(gatherMs: 3);
        home.Append(
            RecordBatchOptions.Default,
            ("first", DelayHome.After(10)), ("second", DelayHome.After(11)), ("third", DelayHome.After(12)));
        home.Advance(10);
        Assert.Equal(["first"], home.Values());
        home.Advance(2);
        Assert.Equal(["first"], home.Values());
        home.Advance(1);
        Assert.Equal(["first", "second", "third"], home.Values());
        Assert.Equal(2, home.Read().Where(static r => r.IsDelivery).DistinctBy(static r => r.Batch.BaseOffset).Count());
    }

    [Fact]
    public void Copies_of_records_in_different_codecs_come_in_order_in_one_batch()
    {
        using var home = new DelayHome();
        CompressionType[] codecs = [CompressionType.Lz4, CompressionType.None, CompressionType.Gzip];
        for (var i = 0; i < codecs.Length; i++)
        {
            home.Append(
                new RecordBatchOptions { Compression = codecs[i] }, ($"{i}", DelayHome.After(10 + i)), ("plain", null));
        }

        home.Advance(20);
        var copies = home.Read().Where(static r => r.IsDelivery).ToList();
        Assert.Equal(["0", "1", "2"], copies.Select(static r => r.Value));
        Assert.All(copies, r => Assert.Equal(CompressionType.Lz4, r.Batch.Compression));
    }

    [Fact]
    public void A_delayed_record_appears_at_its_instant_once_and_not_before()
    {
        using var home = new DelayHome();
        var origin = home.Append("later", DelayHome.After(5000));
        home.Append("now");
        home.Advance(4999);
        Assert.Equal(["now"], home.Values());
        Assert.Equal(1, home.Schedule.PendingCount);
        home.Advance(1);
        Assert.Equal(["now", "later"], home.Values());
        var delivered = home.Consume()[^1];
        Assert.Equal((DelayHome.StartMs + 5000, origin), (delivered.Timestamp, delivered.Request.OriginOffset));
        home.Advance(100_000);
        Assert.Equal(["now", "later"], home.Values());
        Assert.Equal(0, home.Schedule.PendingCount);
    }

    [Theory]
    [InlineData(CompressionType.None)]
    [InlineData(CompressionType.Gzip)]
    [InlineData(CompressionType.Lz4)]
    [InlineData(CompressionType.Zstd)]
    public void A_batch_may_mix_delays_and_its_records_come_in_the_order_of_their_instants(CompressionType codec)
    {
        using var home = new DelayHome();
        home.Append(
            RecordBatchOptions.Default with { Compression = codec },
            ("a", null), ("b", DelayHome.After(3000)), ("c", DelayHome.After(1000)), ("d", null),
            ("e", ("kbroker-delay-level", "1")));
        Assert.Equal(["a", "d"], home.Values());
        home.Advance(1000);
        Assert.Equal(["a", "d", "c", "e"], home.Values());
        home.Advance(2000);
        Assert.Equal(["a", "d", "c", "e", "b"], home.Values());
        Assert.Equal(codec, home.Consume()[^1].Batch.Compression);
    }

    [Fact]
    public void What_is_cancelled_in_time_never_appears()
    {
        using var home = new DelayHome();
        var one = home.Append("one", DelayHome.After(1000));
        var two = home.Append("two", DelayHome.After(1000));
        home.Append("", DelayHome.Cancel(one));
        home.Append("", DelayHome.Cancel(one));
        Assert.Equal(1, home.Schedule.PendingCount);
        home.Advance(1000);
        home.Append("", DelayHome.Cancel(two));
        home.Append("", DelayHome.Cancel(12345));
        home.Advance(1000);
        Assert.Equal(["two"], home.Values());
        home.Crash();
        home.Advance(1000);
        Assert.Equal(["two"], home.Values());
    }

    [Fact]
    public void A_crash_neither_loses_nor_repeats()
    {
        using var home = new DelayHome();
        home.Append("one", DelayHome.After(1000));
        home.Append("two", DelayHome.After(2000));
        home.Crash();
        Assert.Equal(2, home.Schedule.PendingCount);
        home.Advance(1000);
        home.Crash();
        home.Advance(500);
        Assert.Equal(["one"], home.Values());
        home.Advance(500);
        home.Crash();
        home.Restart();
        home.Advance(10_000);
        Assert.Equal(["one", "two"], home.Values());
    }

    [Fact]
    public void A_segment_that_was_rolled_right_behind_the_last_flush_still_hides_after_a_power_cut()
    {
        // What is lost of names and contents differs.
        for (var luck = 0; luck < 30; luck++)
        {
            using var home = new DelayHome(new LogConfig { DelayEnable = true, SegmentBytes = 1_000 });
            var count = 0;
            while (Directory.GetFiles(home.LogPath, "*.log").Length == 1)
            {
                home.Flush();
                // The power fails before what the roll leaves behind is flushed.
                home.Files.Fault = static (operation, path) =>
                    operation is FileOperation.Flush or FileOperation.FlushAll
                        ? new IOException($"no flush of {path}")
                        : null;
                Xunit.Record.Exception(() => home.Append($"{count++} {new string('x', 100)}", DelayHome.After(60_000)));
                home.Files.Fault = null;
            }

            home.Crash(new Random(luck));
            Assert.Empty(home.Values());
            home.Advance(60_000);
            Assert.InRange(home.Values().Distinct().Count(), count - 1, count);
        }
    }

    [Fact]
    public void What_became_due_while_the_broker_was_down_comes_at_once()
    {
        using var home = new DelayHome();
        home.Append("one", DelayHome.After(1000));
        home.Crash(meanwhile: () => home.Clock.Advance(60_000));
        Assert.Equal(["one"], home.Values());
    }

    [Theory]
    [InlineData("clean")]
    [InlineData("torn")]
    [InlineData("garbage")]
    [InlineData("missing")]
    [InlineData("run missing")]
    [InlineData("run short")]
    public void Whatever_becomes_of_the_checkpoint_the_log_tells_the_same(string damage)
    {
        using var home = new DelayHome(nearMax: 8, farMax: 8, checkpointWork: 20);
        for (var i = 0; i < 100; i++)
            home.Append($"{i}", DelayHome.After(1000 + (i * 7 % 100 * 10)));
        home.Advance(1500);
        var before = home.Values();
        Assert.NotEmpty(Directory.GetFiles(home.LogPath, "*.run"));
        home.Crash(meanwhile: () => Damage(home.LogPath, damage));
        Assert.Equal(100 - before.Count, home.Schedule.PendingCount);
        home.Advance(10_000);
        Assert.Equal(100, home.Values().Count);
        Assert.Equal(100, home.Values().Distinct().Count());
        home.Restart();
        Assert.Equal(0, home.Schedule.PendingCount);
    }

    [Fact]
    public void A_checkpoint_ahead_of_its_log_is_thrown_away()
    {
        using var home = new DelayHome(checkpointWork: 1);
        home.Append("one", DelayHome.After(1000));
        home.Append("two", DelayHome.After(1000));
        home.Advance(1000);
        Assert.Equal(["one", "two"], home.Values());
        // As when the end of the log, the delivery in it, were lost and the checkpoint not.
        home.Crash(meanwhile: () =>
        {
            var log = Directory.GetFiles(home.LogPath, "*.log").Single();
            using var file = File.OpenWrite(log);
            file.SetLength(file.Length - 20);
            foreach (var point in Directory.GetFiles(Path.GetDirectoryName(home.LogPath)!, "recovery-point-*"))
                File.Delete(point);
        });
        home.Advance(1);
        Assert.Equal(["one", "two"], home.Values());
    }

    [Fact]
    public void Records_of_a_transaction_wait_for_its_commit()
    {
        using var home = new DelayHome();
        var options = Transactional(7);
        home.Append(options, ("committed", DelayHome.After(1000)));
        home.Append(Transactional(8), ("aborted", DelayHome.After(1000)));
        home.Append("plain", DelayHome.After(2000));
        home.Advance(1500);
        Assert.Empty(home.Values());
        home.Mark(8, isCommit: false);
        home.Crash();
        home.Advance(500);
        // Another transaction, open before it, does not hold it up.
        Assert.Equal(["plain"], home.Values());
        home.Mark(7, isCommit: true);
        Assert.Equal(["plain", "committed"], home.Values());
        home.Advance(10_000);
        home.Crash();
        Assert.Equal(["plain", "committed"], home.Values());
    }

    [Fact]
    public void A_cancel_within_a_transaction_counts_from_its_commit()
    {
        using var home = new DelayHome();
        var one = home.Append("one", DelayHome.After(1000));
        var two = home.Append("two", DelayHome.After(2000));
        var three = home.Append("three", DelayHome.After(3000));
        home.Append(Transactional(7), ("", DelayHome.Cancel(one)), ("", DelayHome.Cancel(two)));
        home.Append(Transactional(8), ("", DelayHome.Cancel(three)));
        home.Advance(1000);
        home.Mark(7, isCommit: true);
        home.Mark(8, isCommit: false);
        home.Advance(5000);
        Assert.Equal(["one", "three"], home.Values());
    }

    [Fact]
    public void A_record_of_an_open_transaction_can_be_cancelled()
    {
        using var home = new DelayHome();
        var first = home.Append(
            Transactional(7), ("one", DelayHome.After(1000)), ("two", DelayHome.After(1000)));
        home.Append("", DelayHome.Cancel(first));
        home.Mark(7, isCommit: true);
        home.Advance(1000);
        Assert.Equal(["two"], home.Values());
    }

    [Fact]
    public void A_retried_batch_is_scheduled_once()
    {
        using var home = new DelayHome();
        var options = new RecordBatchOptions { ProducerId = 5, ProducerEpoch = 0, BaseSequence = 0 };
        Assert.Equal(0, home.Append(options, ("one", DelayHome.After(1000))));
        Assert.Equal(0, home.Append(options, ("one", DelayHome.After(1000))));
        home.Advance(1000);
        Assert.Equal(["one"], home.Values());
    }

    [Fact]
    public void Retention_carries_what_is_pending_forward()
    {
        using var home = new DelayHome(new LogConfig
        {
            DelayEnable = true,
            SegmentBytes = 500,
            RetentionMs = 10_000,
            FileDeleteDelayMs = 0,
        });
        var kept = home.Append("kept", DelayHome.After(100_000));
        var gone = home.Append("gone", DelayHome.After(100_000));
        for (var round = 0; round < 5; round++)
        {
            for (var i = 0; i < 10; i++)
                home.Append($"filling the segments {round} {i}");
            home.Advance(15_000);
            Assert.True(home.Log.DeleteOldSegments(home.Partition.HighWatermark) > 0);
            Assert.True(home.Log.LogStartOffset > gone);
            Assert.Equal(round < 1 ? 2 : 1, home.Schedule.PendingCount);
            if (round == 0)
                home.Append("", DelayHome.Cancel(gone));
            if (round % 2 == 0)
                home.Crash();
        }

        home.Advance(25_000);
        var delivered = Assert.Single(home.Consume(), static r => r.IsDelivery);
        Assert.Equal(("kept", kept), (delivered.Value, delivered.Request.OriginOffset));
        Assert.True(delivered.Timestamp >= DelayHome.StartMs + 100_000);
        home.Crash();
        home.Advance(100_000);
        Assert.Single(home.Consume(), static r => r.IsDelivery);
    }

    [Fact]
    public void A_cancel_that_comes_while_its_record_is_carried_forward_holds()
    {
        using var home = new DelayHome(new LogConfig { DelayEnable = true, SegmentBytes = 200 });
        var one = home.Append("one", DelayHome.After(60_000));
        home.Append("two", DelayHome.After(60_000));
        home.WhenTimeIsAsked = () => home.Append("", DelayHome.Cancel(one));
        Assert.Equal(KBroker.Protocol.ErrorCode.None, home.Partition.DeleteRecords(-1, out _));
        Assert.Null(home.WhenTimeIsAsked);
        home.Advance(60_000);
        Assert.Equal(["two"], home.Values());
        home.Crash();
        Assert.Equal(["two"], home.Values());
    }

    [Fact]
    public void A_cancel_whose_record_was_carried_forward_before_its_commit_holds_after_a_crash()
    {
        using var home = new DelayHome();
        var one = home.Append("one", DelayHome.After(60_000));
        home.Append("now");
        var cancel = home.Append(
            RecordBatchOptions.Default with
            {
                ProducerId = 5,
                ProducerEpoch = 0,
                BaseSequence = 0,
                IsTransactional = true,
            },
            ("", DelayHome.Cancel(one)));
        Assert.Equal(KBroker.Protocol.ErrorCode.None, home.Partition.DeleteRecords(cancel, out _));
        Assert.Equal(1, home.Schedule.PendingCount);
        home.Mark(5, isCommit: true);
        Assert.Equal(0, home.Schedule.PendingCount);
        home.Crash();
        Assert.Equal(0, home.Schedule.PendingCount);
        home.Advance(60_000);
        Assert.Empty(home.Values());
    }

    [Fact]
    public void A_cancel_whose_transaction_commits_after_a_start_while_its_record_is_delivered_holds()
    {
        using var home = new DelayHome();
        var one = home.Append("one", DelayHome.After(1000));
        home.Append(
            RecordBatchOptions.Default with
            {
                ProducerId = 5,
                ProducerEpoch = 0,
                BaseSequence = 0,
                IsTransactional = true,
            },
            ("", DelayHome.Cancel(one)));
        home.Crash();
        home.WhenTimeIsAsked = () => home.Mark(5, isCommit: true);
        home.Advance(1000);
        Assert.Null(home.WhenTimeIsAsked);
        Assert.Empty(home.Values());
        Assert.Equal(0, home.Schedule.PendingCount);
    }

    [Fact]
    public void DeleteRecords_carries_what_is_pending_forward()
    {
        using var home = new DelayHome();
        home.Append("kept", DelayHome.After(1000));
        home.Append("plain");
        Assert.Equal(KBroker.Protocol.ErrorCode.None, home.Partition.DeleteRecords(-1, out _));
        home.Advance(1000);
        Assert.Equal(["kept"], home.Values());
    }

    [Fact]
    public void Nothing_is_deleted_below_an_open_transaction_with_delays()
    {
        using var home = new DelayHome();
        home.Append(Transactional(7), ("one", DelayHome.After(1000)));
        Assert.Equal(KBroker.Protocol.ErrorCode.RequestTimedOut, home.Partition.DeleteRecords(-1, out _));
        home.Mark(7, isCommit: true);
        Assert.Equal(KBroker.Protocol.ErrorCode.None, home.Partition.DeleteRecords(-1, out _));
        home.Advance(1000);
        Assert.Equal(["one"], home.Values());
    }

    [Fact]
    public void Pending_records_are_delivered_also_when_the_topic_allows_no_delays_any_more()
    {
        using var home = new DelayHome();
        home.Append("one", DelayHome.After(1000));
        home.Config = home.Config with { DelayEnable = false };
        home.Log.UpdateConfig(home.Config);
        home.Append("visible at once", DelayHome.After(1000));
        home.Crash();
        Assert.Equal(["visible at once"], home.Values());
        home.Advance(1000);
        Assert.Equal(["visible at once", "one"], home.Values());
    }

    [Fact]
    public void A_clock_that_goes_back_delays_what_waits_and_repeats_nothing()
    {
        using var home = new DelayHome();
        home.Append("one", DelayHome.After(1000));
        home.Append("two", DelayHome.After(2000));
        home.Advance(1000);
        home.Clock.Set(DelayHome.StartMs - 100_000);
        home.Schedule.Wake();
        home.Crash();
        Assert.Equal(["one"], home.Values());
        home.Clock.Set(DelayHome.StartMs + 2000);
        home.Schedule.Wake();
        Assert.Equal(["one", "two"], home.Values());
    }

    [Fact]
    public void A_delivery_waits_while_the_partition_takes_no_records()
    {
        using var home = new DelayHome();
        home.Append("one", DelayHome.After(1000));
        home.Partition.MinInSyncReplicas = 2;
        home.SetReplicas(2);
        home.Advance(5000);
        Assert.Empty(home.Values());
        home.SetReplicas(1);
        home.Advance(1000);
        Assert.Equal(["one"], home.Values());
    }

    [Fact]
    public void Far_records_stay_out_of_memory_and_come_in_time()
    {
        using var home = new DelayHome(nearMax: 16, farMax: 16);
        var random = new Random(3);
        var expected = new List<(long Due, int Number)>();
        for (var i = 0; i < 2000; i++)
        {
            var delay = random.Next(1, 100_000);
            expected.Add((delay, i));
            home.Append($"{i}", DelayHome.After(delay));
        }

        for (var now = 0; now <= 100_000; now += 5_000)
        {
            Assert.Equal(
                expected.Where(e => e.Due <= now).OrderBy(static e => e).Select(static e => $"{e.Number}"),
                home.Values());
            home.Advance(5_000);
        }
    }

    private static RecordBatchOptions Transactional(long producerId) => new()
    {
        ProducerId = producerId,
        ProducerEpoch = 0,
        BaseSequence = 0,
        IsTransactional = true,
    };

    private static void Damage(string path, string damage)
    {
        var checkpoint = Path.Combine(path, ScheduleCheckpoint.FileName);
        var runs = Directory.GetFiles(path, "*.run");
        switch (damage)
        {
            case "torn":
                File.WriteAllBytes(checkpoint, File.ReadAllBytes(checkpoint)[..30]);
                break;
            case "garbage":
                var bytes = File.ReadAllBytes(checkpoint);
                bytes[25] ^= 0x40;
                File.WriteAllBytes(checkpoint, bytes);
                break;
            case "missing":
                File.Delete(checkpoint);
                break;
            case "run missing":
                foreach (var run in runs)
                    File.Delete(run);
                break;
            case "run short":
                foreach (var run in runs)
                    File.WriteAllBytes(run, File.ReadAllBytes(run)[..^24]);
                break;
        }
    }
}
