using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using KBroker.Protocol.Records;

namespace KBroker.Protocol.Tests.Records;

public sealed class RecordBatchTests
{
    private const int MaxBytes = 1024 * 1024;
    private readonly CompressionCodecs _codecs = new();

    [Fact]
    public void Validating_an_uncompressed_batch_allocates_nothing_fragmented_or_not()
    {
        var bytes = Build(RecordBatchOptions.Default, 200);
        foreach (var batch in new[] { new ReadOnlySequence<byte>(bytes), BatchVectors.Fragment(bytes, 100, 4096) })
        {
            // The first rounds may meet code that is being compiled anew; what is allocated always is in each round.
            var least = long.MaxValue;
            for (var round = 0; round < 10 && least > 0; round++)
            {
                var before = GC.GetAllocatedBytesForCurrentThread();
                for (var i = 0; i < 100; i++)
                    Produce(batch);
                least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
            }

            Assert.Equal(0, least);
        }
    }

    [Theory]
    [InlineData(RecordBatchAttributes.Control, 3, 2, 0, "control")]
    [InlineData(RecordBatchAttributes.DeleteHorizon, 3, 2, 0, "horizon")]
    [InlineData(RecordBatchAttributes.None, 3, -1, 0, "range")]
    [InlineData(RecordBatchAttributes.None, 0, 0, 0, "count")]
    [InlineData(RecordBatchAttributes.None, 3, 3, 0, "last offset delta is 3")]
    [InlineData(RecordBatchAttributes.None, int.MinValue, int.MaxValue, 0, "count")]
    [InlineData(RecordBatchAttributes.None, 3, 2, -1, "sequence number -1")]
    public void Headers_that_no_producer_may_send_are_refused(
        RecordBatchAttributes attributes, int count, int lastOffsetDelta, int sequence, string rule)
    {
        var header = new RecordBatchHeader
        {
            Magic = 2,
            Attributes = attributes,
            RecordsCount = count,
            LastOffsetDelta = lastOffsetDelta,
            ProducerId = 5,
            BaseSequence = sequence,
        };
        var error = Assert.Throws<InvalidRecordException>(() => RecordBatchValidator.CheckProduced(header));
        Assert.Contains(rule, error.Message);
    }

    [Theory]
    [InlineData("00", "A record of 0 bytes")]
    [InlineData("01", "Invalid record length -1")]
    [InlineData("7f 00 00 00 01 01 00", "Invalid record length -64")]
    [InlineData("0e 00 00 00 01 01 00", "record")] // The batch ends inside the record.
    [InlineData("0c 00 00 00 03 01 00", "Invalid key length -2")]
    [InlineData("0c 00 00 00 01 03 00", "Invalid value length -2")]
    [InlineData("0c 00 00 00 06 01 00", "Invalid key length 3")]
    [InlineData("0c 00 00 00 01 04 00", "Invalid value length 2")]
    [InlineData("0c 00 00 00 01 01 01", "number of record headers -1")]
    [InlineData("0c 00 00 00 01 01 02", "number of record headers 1")]
    [InlineData("10 00 00 00 01 01 02 01 01", "header key length -1")]
    [InlineData("10 00 00 00 01 01 02 00 03", "header value length -2")]
    [InlineData("10 00 00 00 01 01 02 00 02", "header value length 1")]
    [InlineData("0e 00 00 00 01 01 00 00", "fields end after 6 bytes")]
    [InlineData("18 00 00 ffffffff1f 01 01 00 0000", "too long")] // An offset delta with more than 32 bits.
    [InlineData("1e 00 ffffffffffffffffff03 00 01 01 00", "too long")] // A timestamp delta with more than 64 bits.
    public void Record_fields_that_do_not_hold_are_refused_by_name(string hex, string rule)
    {
        var record = Convert.FromHexString(hex.Replace(" ", ""));
        foreach (var size in new[] { 10_000, 62, 3 })
        {
            // Padding lets the count pass, so that the record itself is judged.
            var batch = BatchVectors.Fragment(Raw(1, [.. record, .. new byte[Math.Max(0, 7 - record.Length)]]), size);
            var error = Assert.Throws<InvalidRecordException>(() =>
                RecordBatchValidator.Validate(batch, _codecs, MaxBytes));
            Assert.Contains(rule, error.Message);
            Assert.Throws<InvalidRecordException>(() => RecordText.Of(batch, _codecs, MaxBytes));
        }
    }

    [Theory]
    [InlineData(2, 3)]
    [InlineData(4, 3)]
    [InlineData(-1, 3)]
    [InlineData(int.MaxValue, 3)]
    [InlineData(0, 1)]
    public void A_count_that_is_not_that_of_the_records_is_refused(int count, int records)
    {
        var bytes = Build(RecordBatchOptions.Default, records);
        BinaryPrimitives.WriteInt32BigEndian(bytes.AsSpan(RecordBatchLayout.RecordsCount), count);
        foreach (var batch in new[] { new ReadOnlySequence<byte>(bytes), BatchVectors.Fragment(bytes, 65) })
        {
            Assert.Throws<InvalidRecordException>(() => RecordBatchValidator.Validate(batch, _codecs, MaxBytes));
            Assert.Throws<InvalidRecordException>(() => RecordText.Of(batch, _codecs, MaxBytes));
        }
    }

    [Fact]
    public void A_torn_tail_is_told_from_garbage()
    {
        var bytes = Build(RecordBatchOptions.Default, 3);
        for (var length = 1; length < bytes.Length; length++)
            Assert.Equal(RecordBatchStatus.Incomplete, Inspect(bytes[..length]));
        Assert.Equal(RecordBatchStatus.Whole, Inspect(bytes));
        Assert.Equal(RecordBatchStatus.Whole, Inspect([.. bytes, 1]));
        Assert.Equal(RecordBatchStatus.End, Inspect([]));
        foreach (var length in new[] { 48, 0, -1, int.MinValue, int.MaxValue })
        {
            BinaryPrimitives.WriteInt32BigEndian(bytes.AsSpan(RecordBatchLayout.BatchLength), length);
            Assert.Equal(RecordBatchStatus.Corrupt, Inspect(bytes));
            Assert.Equal(RecordBatchStatus.Corrupt, Inspect(bytes[..30]));
        }

        bytes[RecordBatchLayout.Magic] = 3;
        Assert.Equal(RecordBatchStatus.Corrupt, Inspect(bytes));
    }

    [Fact]
    public void Enumerating_names_the_place_of_a_batch_that_is_cut_off()
    {
        var bytes = Build(RecordBatchOptions.Default, 3);
        var places = new List<long>();
        var error = Assert.Throws<CorruptRecordException>(() =>
        {
            byte[] torn = [.. bytes, .. bytes, .. bytes[..70]];
            foreach (var batch in RecordBatches.Enumerate(BatchVectors.Fragment(torn, 9)))
                places.Add(batch.Position);
        });
        Assert.Equal([0, bytes.Length], places);
        Assert.Contains($"at byte {2 * bytes.Length}", error.Message);
    }

    [Fact]
    public void Assigning_offsets_leaves_the_checksum_valid_and_log_append_time_renews_it()
    {
        var bytes = Build(RecordBatchOptions.Default, 3);
        foreach (var batch in new[] { new ReadOnlySequence<byte>(bytes), BatchVectors.Fragment(bytes, 3) })
        {
            RecordBatchEditor.AssignOffsets(batch, 1L << 40, 17);
            Assert.True(RecordBatches.HasValidCrc(batch));
            RecordBatchEditor.SetMaxTimestamp(batch, TimestampType.LogAppendTime, 99);
            Assert.True(RecordBatches.HasValidCrc(batch));
            Assert.True(RecordBatchHeader.TryParse(batch, out var header));
            Assert.Equal(((1L << 40) + 2, 17, 99L),
                (header.LastOffset, header.PartitionLeaderEpoch, header.MaxTimestamp));
            Assert.Equal(99, RecordBatchValidator.Validate(batch, _codecs, MaxBytes).MinTimestamp);
            RecordBatchEditor.SetMaxTimestamp(batch, TimestampType.CreateTime, 1002);
            Assert.Equal(1000, RecordBatchValidator.Validate(batch, _codecs, MaxBytes).MinTimestamp);
        }
    }

    [Fact]
    public void Filtering_keeps_positions_and_producer_state_and_may_empty_the_batch()
    {
        foreach (var type in Enum.GetValues<CompressionType>())
        {
            var options = new RecordBatchOptions
            {
                BaseOffset = 500,
                Compression = type,
                ProducerId = 9,
                ProducerEpoch = 1,
                BaseSequence = 40,
                PartitionLeaderEpoch = 3,
                IsTransactional = true,
            };
            var batch = (ReadOnlyMemory<byte>)Build(options, 10);
            using var filter = new RecordBatchFilter(_codecs, MaxBytes);
            var some = new KeepOffsets([501, 504]);
            var verdict = filter.Judge(batch, ref some);
            var two = new ReadOnlySequence<byte>(filter.Build(7777).ToArray());
            Assert.Equal(new RecordBatchVerdict(2, 10, KeptTombstones: false), verdict);
            var header = RecordBatchValidator.ParseWhole(two);
            Assert.True(RecordBatches.HasValidCrc(two));
            Assert.Equal((500L, 509L, 40, 3, true), (header.BaseOffset, header.LastOffset, header.BaseSequence,
                header.PartitionLeaderEpoch, header.IsTransactional));
            Assert.Equal((type, true, 7777L, 1004L), (header.Compression, header.HasDeleteHorizon,
                header.BaseTimestamp, header.MaxTimestamp));
            Assert.Equal("501 1001 41 6b 7631 \n504 1004 44 6b 7634 ",
                RecordText.Of(two, _codecs, MaxBytes));

            var last = new KeepOffsets([504]);
            verdict = filter.Judge(two.First, ref last);
            var one = new ReadOnlySequence<byte>(filter.Build(null).ToArray());
            header = RecordBatchValidator.ParseWhole(one);
            Assert.Equal((1, 7777L, 1004L, 509L),
                (verdict.KeptCount, header.BaseTimestamp, header.MaxTimestamp, header.LastOffset));
            Assert.Equal("504 1004 44 6b 7634 ", RecordText.Of(one, _codecs, MaxBytes));

            var nothing = new KeepOffsets([]);
            Assert.Equal(0, filter.Judge(batch, ref nothing).KeptCount);
            var none = new ReadOnlySequence<byte>(filter.Build(7777).ToArray());
            header = RecordBatchValidator.ParseWhole(none);
            Assert.Equal((0, 61, 509L, 1009L, -1L, false), (header.RecordsCount, header.SizeInBytes, header.LastOffset,
                header.MaxTimestamp, header.BaseTimestamp, header.HasDeleteHorizon));
            Assert.True(RecordBatches.HasValidCrc(none));
            Assert.Equal(0, RecordBatchValidator.Validate(none, _codecs, MaxBytes).RecordsCount);
        }
    }

    [Fact]
    public void A_filter_tells_of_tombstones_that_stay_and_keeps_the_bytes_of_runs()
    {
        using var builder = new RecordBatchBuilder(new RecordBatchOptions { BaseOffset = 9 }, _codecs);
        for (var i = 0; i < 5; i++)
            builder.Append(1000 + i, new byte[] { (byte)i }, i == 3 ? null : (ReadOnlyMemory<byte>?)new byte[300]);
        ReadOnlyMemory<byte> batch = builder.Build().ToArray();
        using var filter = new RecordBatchFilter(_codecs, MaxBytes);
        var all = new KeepOffsets([9, 10, 11, 12, 13]);
        Assert.Equal(new RecordBatchVerdict(5, 5, KeptTombstones: true), filter.Judge(batch, ref all));
        Assert.Equal(batch.ToArray(), filter.Build(null).ToArray());
        var values = new KeepOffsets([9, 10, 11, 13]);
        Assert.False(filter.Judge(batch, ref values).KeptTombstones);
        var cut = batch[..^1];
        Assert.Throws<CorruptRecordException>(() => filter.Judge(cut, ref values));
    }

    [Fact]
    public void A_commit_marker_has_the_bytes_of_Kafka()
    {
        using var builder = new RecordBatchBuilder(new RecordBatchOptions
        {
            BaseOffset = 77,
            PartitionLeaderEpoch = 6,
            ProducerId = 9002,
            ProducerEpoch = 5,
            IsTransactional = true,
            IsControl = true,
        });
        builder.Append(
            1_760_000_000_000, ControlRecord.Key(ControlRecordType.Commit), ControlRecord.EndTransactionValue(12));
        Assert.Equal(BatchVectors.Get("control-commit"), builder.Build().ToArray());
        Assert.True(ControlRecord.TryParseKey(new byte[] { 0, 0, 0, 1 }, out var type));
        Assert.Equal(ControlRecordType.Commit, type);
        Assert.True(ControlRecord.TryParseEndTransactionValue(new byte[] { 0, 0, 0, 0, 0, 12 }, out var epoch));
        Assert.Equal(12, epoch);
        Assert.False(ControlRecord.TryParseKey(null, out _));
        Assert.False(ControlRecord.TryParseKey(new byte[] { 0, 0, 0 }, out _));
    }

    [Fact]
    public void A_builder_is_used_again_after_a_reset_and_refuses_offsets_that_do_not_rise()
    {
        using var builder = new RecordBatchBuilder(RecordBatchOptions.Default, _codecs);
        builder.Append(1, null, "a"u8.ToArray());
        Assert.Throws<ArgumentOutOfRangeException>(() => builder.AppendAt(0, 1, null, null));
        var first = builder.Build().ToArray();
        Assert.Throws<InvalidOperationException>(() => builder.Append(1, null, null));
        builder.Reset(new RecordBatchOptions { Compression = CompressionType.Lz4 });
        builder.Append(1, null, "b"u8.ToArray());
        Assert.NotEqual(first, builder.Build().ToArray());
        builder.Reset(RecordBatchOptions.Default);
        builder.Append(1, null, "a"u8.ToArray());
        Assert.Equal(first, builder.Build().ToArray());
    }

    [Fact]
    public void A_reader_finds_records_by_offset_in_any_order_and_not_those_in_gaps()
    {
        using var builder = new RecordBatchBuilder(new RecordBatchOptions { BaseOffset = 100 });
        foreach (var offset in new long[] { 101, 102, 105, 109 })
            builder.AppendAt(offset, offset, null, Encoding.ASCII.GetBytes($"{offset}"));
        var bytes = builder.Build().ToArray();
        foreach (var batch in new[] { new ReadOnlySequence<byte>(bytes), BatchVectors.Fragment(bytes, 66, 70) })
        {
            using var reader = new RecordBatchReader(batch, _codecs, MaxBytes);
            foreach (var offset in new long[] { 105, 101, 102, 102, 109, 100, 103, 109, 110, 105, 99, 101 })
            {
                var found = reader.TryFind(offset, out var record);
                Assert.Equal(offset is 101 or 102 or 105 or 109, found);
                if (!found)
                    continue;
                Assert.Equal(offset, record.Offset);
                Assert.Equal($"{offset}", Encoding.ASCII.GetString(record.Value!.Value.Span));
            }

            reader.Rewind();
            var offsets = new List<long>();
            while (reader.TryRead(out var record))
                offsets.Add(record.Offset);
            Assert.Equal([101, 102, 105, 109], offsets);
        }
    }

    [Fact]
    public void Persisted_numbers_are_pinned()
    {
        Assert.Equal("None=0 Gzip=1 Snappy=2 Lz4=3 Zstd=4", Numbers<CompressionType>());
        Assert.Equal("CreateTime=0 LogAppendTime=1", Numbers<TimestampType>());
        Assert.Equal("Abort=0 Commit=1 LeaderChange=2 SnapshotHeader=3 SnapshotFooter=4 KRaftVersion=5 KRaftVoters=6",
            Numbers<ControlRecordType>());
        Assert.Equal(
            "CorruptMessage=2 InvalidTimestamp=32 UnsupportedForMessageFormat=43 UnsupportedCompressionType=76 "
            + "InvalidRecord=87",
            Numbers<RecordErrorKind>());
        Assert.Equal(3, RecordBatchHeader.IncrementSequence(int.MaxValue, 4));
        Assert.Equal(int.MaxValue, RecordBatchHeader.IncrementSequence(int.MaxValue - 1, 1));
    }

    [Fact]
    public void Records_of_several_parts_are_one_value()
    {
        var bytes = new ReadOnlySequence<byte>([1, 2, 3]);
        var records = new KBroker.Protocol.Records.Records(
            [new RecordsPart(bytes), new RecordsPart(new FakeRegion([4, 5]))]);
        Assert.Equal((5, 2, false), (records.SizeInBytes, records.PartCount, records.TryGetBytes(out _)));
        Assert.Equal([1, 2, 3, 4, 5], records.ToArray());
        Assert.True(new KBroker.Protocol.Records.Records(bytes).TryGetBytes(out _));
        Assert.True(KBroker.Protocol.Records.Records.Empty is { IsEmpty: true, PartCount: 0 });
    }

    private static string Numbers<T>()
        where T : struct, Enum =>
        string.Join(' ', Enum.GetValues<T>().Select(value => $"{value}={Convert.ToInt32(value)}"));

    private static RecordBatchStatus Inspect(byte[] bytes) =>
        RecordBatches.Inspect(new ReadOnlySequence<byte>(bytes), out _);

    private byte[] Build(RecordBatchOptions options, int count)
    {
        using var builder = new RecordBatchBuilder(options, _codecs);
        for (var i = 0; i < count; i++)
            builder.Append(1000 + i, "k"u8.ToArray(), Encoding.ASCII.GetBytes($"v{i}"));
        return builder.Build().ToArray();
    }

    private static byte[] Raw(int count, byte[] records)
    {
        var bytes = new byte[RecordBatchLayout.HeaderSize + records.Length];
        new RecordBatchHeader
        {
            Magic = 2,
            BatchLength = bytes.Length - RecordBatchLayout.LogOverhead,
            RecordsCount = count,
            LastOffsetDelta = count - 1,
        }.Write(bytes);
        records.CopyTo(bytes.AsSpan(RecordBatchLayout.HeaderSize));
        return bytes;
    }

    private void Produce(in ReadOnlySequence<byte> records)
    {
        foreach (var batch in RecordBatches.Enumerate(records))
        {
            if (!batch.HasValidCrc())
                throw new InvalidOperationException("checksum");
            RecordBatchValidator.CheckProduced(batch.Header);
            if (!RecordBatchValidator.Validate(batch.Bytes, _codecs, MaxBytes).OffsetsConsecutive)
                throw new InvalidOperationException("offsets");
            RecordBatchEditor.AssignOffsets(batch.Bytes, 10, 2);
        }
    }

    private readonly struct KeepOffsets(long[] offsets) : IRecordFilter
    {
        public void Foresee(int slot, in RecordView record) =>
            Assert.InRange(slot, 0, RecordBatchFilter.Window - 1);

        public bool Keep(int slot, in RecordBatchHeader header, in RecordView record) =>
            offsets.Contains(record.Offset);
    }

    private sealed class FakeRegion(byte[] content) : IRecordsRegion
    {
        public int Length => content.Length;

        public void Read(int position, Span<byte> destination) =>
            content.AsSpan(position, destination.Length).CopyTo(destination);

        public void Dispose()
        {
        }
    }
}
