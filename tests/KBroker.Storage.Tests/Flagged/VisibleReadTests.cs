using System.Buffers;
using System.Text;
using KBroker.Protocol.Records;
using KBroker.Storage.Tests.Cleaning;

namespace KBroker.Storage.Tests.Flagged;

public sealed class VisibleReadTests
{
    private const long Now = 1_700_000_000_000;

    private static LogConfig Delaying { get; } = new() { DelayEnable = true, SegmentBytes = 1 << 20 };

    public static TheoryData<CompressionType> Codecs =>
        [CompressionType.None, CompressionType.Gzip, CompressionType.Snappy, CompressionType.Lz4, CompressionType.Zstd];

    [Theory]
    [MemberData(nameof(Codecs))]
    public void The_third_of_five_is_hidden_and_the_others_keep_their_offsets(CompressionType codec)
    {
        using var storage = new TestStorage(Delaying);
        Append(storage, codec, null, null, "60000", null, null);
        Assert.Equal([0L, 1, 3, 4], Visible(storage, 0, out var read));
        Assert.Equal(codec == CompressionType.Snappy ? CompressionType.None : codec, CodecOf(storage));
        Assert.False(read.IsFiller);
        // A follower gets everything.
        Assert.Equal(5, Raw(storage).Count);
    }

    [Fact]
    public void Batches_that_hide_nothing_are_sent_from_the_file()
    {
        using var storage = new TestStorage(Delaying);
        Append(storage, CompressionType.None, null, null);
        Append(storage, CompressionType.None, null, "60000");
        Append(storage, CompressionType.None, null, null);
        var read = storage.Log.Flagged.ReadVisible(0, 0, 1 << 20, long.MaxValue, true);
        var records = read.Read.Records;
        Assert.Equal(3, records.PartCount);
        Assert.Equal([true, false, true], Enumerable.Range(0, 3).Select(i => records[i].Region is not null));
        Assert.Equal([0L, 1, 2, 4, 5], Offsets(records.ToArray()));
        records.Dispose();
        Assert.Equal([4L, 5], Visible(storage, 4, out _));
    }

    [Fact]
    public void A_hidden_tail_is_a_filler_that_leads_behind_it()
    {
        using var storage = new TestStorage(Delaying);
        Append(storage, CompressionType.None, null, null);
        Append(storage, CompressionType.None, "60000", "60000");
        Append(storage, CompressionType.Lz4, "60000");
        Assert.Equal([0L, 1], Visible(storage, 0, out _));
        var read = storage.Log.Flagged.ReadVisible(2, 2, 1 << 20, long.MaxValue, true);
        Assert.True(read.IsFiller);
        Assert.Equal(5, read.HiddenTo);
        var filler = read.Read.Records.ToArray();
        Assert.Equal(
            RecordBatchStatus.Whole, RecordBatches.Inspect(new ReadOnlySequence<byte>(filler), out var header));
        Assert.Equal((4L, 4L, true, -1L), (header.BaseOffset, header.LastOffset, header.IsControl, header.ProducerId));
        // The next look begins where the last one ended, and finds what came behind it.
        Append(storage, CompressionType.None, new string?[] { null });
        var next = storage.Log.Flagged.ReadVisible(2, read.HiddenTo, 1 << 20, long.MaxValue, true);
        Assert.Equal([5L], Offsets(next.Read.Records.ToArray()));
        next.Read.Records.Dispose();
    }

    [Theory]
    [MemberData(nameof(Codecs))]
    public void Behind_the_last_visible_record_of_a_batch_the_rest_of_it_is_as_a_hidden_batch(CompressionType codec)
    {
        using var storage = new TestStorage(Delaying);
        Append(storage, codec, null, "60000", null, "60000", "60000", "60000");
        Assert.Equal([2L], Visible(storage, 2, out _));
        var read = storage.Log.Flagged.ReadVisible(3, 0, 1 << 20, long.MaxValue, true);
        Assert.True(read.IsFiller);
        Assert.Equal(6, read.HiddenTo);
        Assert.Equal([5L], Offsets(read.Read.Records.ToArray()));
        Append(storage, codec, null, "60000");
        Assert.Equal([6L], Visible(storage, 4, out _));
    }

    [Fact]
    public void Hidden_records_of_many_segments_are_passed_over_in_one_read()
    {
        using var storage = new TestStorage(Delaying with { SegmentBytes = 400 });
        for (var i = 0; i < 30; i++)
            Append(storage, CompressionType.None, "60000", "60000", "60000");
        Append(storage, CompressionType.None, new string?[] { null });
        Assert.True(storage.Log.SegmentCount > 10);
        Assert.Equal([90L], Visible(storage, 0, out _));
        Assert.Equal([90L], Visible(storage, 17, out _));
    }

    [Fact]
    public void A_reader_never_sees_behind_its_bound()
    {
        using var storage = new TestStorage(Delaying);
        Append(storage, CompressionType.None, "60000", "60000");
        Append(storage, CompressionType.None, new string?[] { null });
        var read = storage.Log.Flagged.ReadVisible(0, 0, 1 << 20, 2, true);
        Assert.True(read.IsFiller);
        Assert.Equal(2, read.HiddenTo);
    }

    [Fact]
    public void Private_bits_of_clients_are_cleared_whatever_the_topic_says()
    {
        foreach (var config in new[] { Delaying, new LogConfig() })
        {
            using var storage = new TestStorage(config);
            var options = RecordBatchOptions.Default with { ExtraAttributes = RecordBatchAttributes.PrivateMask };
            Assert.True(storage.Append(TestStorage.Batch(3, options: options)).IsSuccess);
            Assert.Equal([0L, 1, 2], Visible(storage, 0, out _));
            Assert.False(storage.Log.Flagged.Any);
        }
    }

    [Fact]
    public void A_topic_that_did_not_opt_in_shows_everything()
    {
        using var storage = new TestStorage(new LogConfig());
        Append(storage, CompressionType.None, null, "60000", "nonsense");
        Assert.Equal([0L, 1, 2], Visible(storage, 0, out _));
    }

    [Fact]
    public void Records_at_fault_are_named_and_nothing_is_stored()
    {
        using var storage = new TestStorage(Delaying with { DelayMaxMs = 1000 });
        var result = storage.Append(BatchOf(CompressionType.None, null, "x", "1001", "1000", "-1"));
        Assert.Equal(AppendError.InvalidRecord, result.Error);
        Assert.Equal([1, 2, 4], result.RecordErrors.Select(static e => e.BatchIndex));
        Assert.Contains("kbroker.delay.max.ms is 1000", result.RecordErrors[1].Message, StringComparison.Ordinal);
        Assert.Equal(0, storage.Log.LogEndOffset);
    }

    [Fact]
    public void A_batch_of_which_everything_is_due_stays_an_ordinary_one()
    {
        using var storage = new TestStorage(Delaying);
        using var builder = new RecordBatchBuilder(RecordBatchOptions.Default);
        builder.Append(Now - 5000, null, null, Header("kbroker-delay-ms", "4000"));
        builder.Append(Now - 5000, null, null, Header("kbroker-deliver-at", $"{Now}"));
        Assert.True(storage.Append(builder.Build().ToArray()).IsSuccess);
        Assert.Equal([0L, 1], Visible(storage, 0, out _));
        Assert.False(storage.Log.Flagged.Any);
    }

    [Fact]
    public void Headers_that_only_the_broker_writes_are_taken_out()
    {
        using var storage = new TestStorage(Delaying);
        using var builder = new RecordBatchBuilder(RecordBatchOptions.Default);
        builder.Append(Now, Encoding.UTF8.GetBytes("k"), Encoding.UTF8.GetBytes("v"), RecordHeaders.Create(
            new RecordHeader("a", "1"u8.ToArray()), new RecordHeader("kbroker-origin-offset", "9"u8.ToArray())));
        Assert.True(storage.Append(builder.Build().ToArray()).IsSuccess);
        using var reader = new RecordBatchReader(ReadAll(storage).AsMemory(), TestStorage.Codecs, 1 << 20);
        Assert.True(reader.TryRead(out var record));
        Assert.Equal(("v", 1), (Encoding.UTF8.GetString(record.Value!.Value.Span), record.Headers.Count));
    }

    [Theory]
    [InlineData("clean", null)]
    [InlineData("crash", null)]
    [InlineData("crash", "missing")]
    [InlineData("crash", "garbage")]
    [InlineData("crash", "short")]
    [InlineData("clean", "stale")]
    public void What_is_hidden_stays_hidden_whatever_becomes_of_the_index(string end, string? damage)
    {
        using var storage = new TestStorage(Delaying);
        for (var i = 0; i < 5; i++)
        {
            Append(storage, CompressionType.None, null, null);
            Append(storage, CompressionType.None, null, "60000");
            Append(storage, CompressionType.None, "60000", "60000");
        }

        var expected = Visible(storage, 0, out _);
        Assert.Equal(15, expected.Count);
        if (end == "crash")
            storage.Crash();
        else
            storage.CloseCleanly();
        Damage(storage, damage);
        storage.Reopen();
        Assert.Equal(expected, Visible(storage, 0, out _));
        Append(storage, CompressionType.None, null, "60000");
        Assert.Equal([.. expected, 30], Visible(storage, 0, out _));
    }

    [Fact]
    public void A_truncation_forgets_what_was_hidden_there()
    {
        using var storage = new TestStorage(Delaying);
        Append(storage, CompressionType.None, null, "60000");
        Append(storage, CompressionType.None, "60000", "60000");
        storage.Log.TruncateTo(2);
        Append(storage, CompressionType.None, null, null);
        Assert.Equal([0L, 2, 3], Visible(storage, 0, out _));
    }

    [Fact]
    public void Flagged_batches_are_listed_from_an_offset_on()
    {
        using var storage = new TestStorage(Delaying with { SegmentBytes = 400 });
        for (var i = 0; i < 40; i++)
            Append(storage, CompressionType.None, i % 4 == 0 ? "60000" : null);
        var found = new List<FlaggedBatch>();
        Assert.Equal(40, storage.Log.Flagged.List(0, 40, 100, false, found));
        Assert.Equal(Enumerable.Range(0, 10).Select(static i => i * 4L), found.Select(static b => b.BaseOffset));
        found.Clear();
        Assert.Equal(20, storage.Log.Flagged.List(5, 40, 3, false, found));
        Assert.Equal([8L, 12, 16], found.Select(static b => b.BaseOffset));
    }

    [Fact]
    public void A_batch_around_the_start_is_listed_when_asked_for()
    {
        using var storage = new TestStorage(Delaying);
        Append(storage, CompressionType.None, "60000", null, null);
        Append(storage, CompressionType.None, "60000");
        var found = new List<FlaggedBatch>();
        storage.Log.Flagged.List(2, 4, 10, true, found);
        Assert.Equal([0L, 3], found.Select(static b => b.BaseOffset));
        found.Clear();
        storage.Log.Flagged.List(3, 4, 10, true, found);
        Assert.Equal([3L], found.Select(static b => b.BaseOffset));
    }

    [Fact]
    public void A_compaction_leaves_what_is_hidden_alone_and_moves_its_index()
    {
        using var storage = new TestStorage(Delaying);
        Append(storage, CompressionType.None, new string?[] { null });
        Append(storage, CompressionType.None, null, "60000");
        Append(storage, CompressionType.None, new string?[] { null });
        storage.Config = CleaningSample.Compacted;
        storage.Log.UpdateConfig(storage.Config);
        storage.Compact();
        Assert.Equal([1L, 2, 3], Raw(storage).Select(static r => r.Offset));
        Assert.Equal([1L, 3], Visible(storage, 0, out _));
        storage.CrashAndReopen();
        Assert.Equal([1L, 3], Visible(storage, 0, out _));
    }

    private static void Damage(TestStorage storage, string? damage)
    {
        var file = Directory.GetFiles(storage.LogPath, "*.flagindex").Single();
        switch (damage)
        {
            case "missing":
                // As an operator deletes indexes: all of them.
                foreach (var index in Directory.GetFiles(storage.LogPath, "*index"))
                    File.Delete(index);
                break;
            case "garbage":
                File.WriteAllBytes(file, [.. Enumerable.Repeat((byte)7, 47)]);
                break;
            case "short":
                File.WriteAllBytes(file, File.ReadAllBytes(file)[..20]);
                break;
            case "stale":
                var bytes = File.ReadAllBytes(file);
                bytes[15] ^= 1;
                File.WriteAllBytes(file, bytes);
                break;
        }
    }

    private static RecordHeaders Header(string key, string value) =>
        RecordHeaders.Create(new RecordHeader(key, Encoding.UTF8.GetBytes(value)));

    private static byte[] BatchOf(CompressionType codec, params string?[] delays)
    {
        using var builder = new RecordBatchBuilder(
            RecordBatchOptions.Default with { Compression = codec }, TestStorage.Codecs);
        foreach (var delay in delays)
        {
            builder.Append(Now, "key"u8.ToArray(), new byte[20],
                delay is null ? RecordHeaders.Empty : Header("kbroker-delay-ms", delay));
        }

        return builder.Build().ToArray();
    }

    private static void Append(TestStorage storage, CompressionType codec, params string?[] delays) =>
        Assert.True(storage.Append(BatchOf(codec, delays)).IsSuccess);

    private static List<long> Visible(TestStorage storage, long offset, out VisibleRead read)
    {
        read = storage.Log.Flagged.ReadVisible(offset, offset, 1 << 20, long.MaxValue, true);
        using var records = read.Read.Records;
        return read.IsFiller ? [] : [.. Offsets(records.ToArray()).Where(o => o >= offset)];
    }

    private static CompressionType CodecOf(TestStorage storage)
    {
        using var records = storage.Log.Flagged.ReadVisible(0, 0, 1 << 20, long.MaxValue, true).Read.Records;
        RecordBatchHeader.TryParse(records.ToArray(), out var header);
        return header.Compression;
    }

    private static byte[] ReadAll(TestStorage storage)
    {
        using var records = storage.Log.Read(0, 1 << 20, long.MaxValue, true).Records;
        return records.ToArray();
    }

    private static List<(long Offset, long Timestamp)> Raw(TestStorage storage) =>
        TestStorage.RecordsOf(ReadAll(storage));

    private static List<long> Offsets(byte[] bytes) => [.. TestStorage.RecordsOf(bytes).Select(static r => r.Offset)];
}
