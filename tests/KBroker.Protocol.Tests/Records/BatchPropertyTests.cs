using System.Buffers;
using FsCheck;
using FsCheck.Fluent;
using KBroker.Protocol.Records;
using Record = KBroker.Protocol.Records.Record;

namespace KBroker.Protocol.Tests.Records;

public sealed class BatchPropertyTests
{
    private const int MaxBytes = 1024 * 1024;
    private static readonly Config Runs = Config.QuickThrowOnFailure.WithMaxTest(300);
    private readonly CompressionCodecs _codecs = new();

    [Fact]
    public void What_is_built_is_read() => Prop.ForAll(Batches().ToArbitrary(), batch =>
    {
        var bytes = Build(batch);
        var sequence = new ReadOnlySequence<byte>(bytes);
        Assert.True(RecordBatches.HasValidCrc(sequence));
        var expected = string.Join('\n', batch.Records.Select(record => RecordText.Of(Expected(batch, record))));
        Assert.Equal(expected, RecordText.Of(sequence, _codecs, MaxBytes));
        Assert.Equal(expected, RecordText.Of(BatchVectors.Fragment(bytes, 70, 1, 13), _codecs, MaxBytes));

        var whole = RecordBatchValidator.Validate(sequence, _codecs, MaxBytes);
        Assert.Equal(whole, RecordBatchValidator.Validate(BatchVectors.Fragment(bytes, 5, 70, 1), _codecs, MaxBytes));
        Assert.Equal(batch.Records.Count, whole.RecordsCount);
        Assert.Equal(batch.Records.Count(record => record.Key is null), whole.KeylessCount);
        Assert.Equal(batch.Records.Max(record => Expected(batch, record).Timestamp), whole.MaxTimestamp);
        Assert.True(whole.OffsetsAscending);
    }).Check(Runs);

    [Fact]
    public void Recompressing_to_any_codec_and_back_keeps_the_batch() => Prop.ForAll(
        Batches().ToArbitrary(), Gen.Elements(Enum.GetValues<CompressionType>()).ToArbitrary(), (batch, type) =>
    {
        var original = Build(batch with { Options = batch.Options with { Compression = CompressionType.None } });
        using var there = RecordBatchTransformer.Recompress(
            new ReadOnlySequence<byte>(original), type, null, _codecs, MaxBytes);
        using var back = RecordBatchTransformer.Recompress(
            BatchVectors.Fragment(there.Memory, 50, 3), CompressionType.None, null, _codecs, MaxBytes);
        Assert.Equal(original, back.Memory.Span);
    }).Check(Runs);

    [Fact]
    public void Damaged_batches_are_read_or_refused_but_never_crash_or_outgrow_the_bound() => Prop.ForAll(
        Batches().ToArbitrary(), Gen.Choose(0, int.MaxValue).ToArbitrary(), (batch, seed) =>
    {
        var random = new Random(seed);
        for (var i = 0; i < 20; i++)
        {
            var bytes = Build(batch);
            for (var j = random.Next(0, 4); j > 0; j--)
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            ReadHostile(random.Next(4) == 0 ? bytes[..random.Next(bytes.Length)] : bytes);
        }
    }).Check(Runs);

    [Fact]
    public void Damage_anywhere_behind_the_checksum_is_noticed() => Prop.ForAll(
        Batches().ToArbitrary(), Gen.Choose(0, int.MaxValue).ToArbitrary(), (batch, seed) =>
    {
        var bytes = Build(batch);
        bytes[RecordBatchLayout.Crc + (seed % (bytes.Length - RecordBatchLayout.Crc))] ^= (byte)(1 << (seed % 8));
        Assert.False(RecordBatches.HasValidCrc(new ReadOnlySequence<byte>(bytes)));
        Assert.Throws<CorruptRecordException>(() => RecordBatches.EnsureValidCrc(BatchVectors.Fragment(bytes, 17)));
    }).Check(Runs);

    private static Record Expected(Batch batch, Record record) =>
        batch.Options.TimestampType == TimestampType.LogAppendTime
            ? record with { Timestamp = batch.Options.MaxTimestamp!.Value }
            : record;

    private static Gen<ReadOnlyMemory<byte>?> Bytes() =>
        from size in Gen.Frequency((1, Gen.Constant(-1)), (3, Gen.Choose(0, 20)), (1, Gen.Choose(60, 300)))
        from seed in Gen.Choose(0, 1000)
        select size < 0 ? default(ReadOnlyMemory<byte>?) : Fill(size, seed);

    private static ReadOnlyMemory<byte> Fill(int size, int seed)
    {
        var bytes = new byte[size];
        new Random(seed).NextBytes(bytes.AsSpan(0, size / 2));
        return bytes;
    }

    private static Gen<RecordHeaders> Headers() =>
        from count in Gen.Frequency((3, Gen.Constant(0)), (1, Gen.Choose(1, 5)))
        from keys in Gen.ArrayOf(Gen.Elements("", "k", "kbroker-tag", "schlüssel", new string('x', 100)), count)
        from values in Gen.ArrayOf(Bytes(), count)
        select RecordHeaders.Create([.. keys.Zip(values, (key, value) => new RecordHeader(key, value))]);

    private static Gen<Record> Records() =>
        from gap in Gen.Frequency((4, Gen.Constant(1)), (1, Gen.Choose(1, 100_000)))
        from timestamp in Gen.Frequency(
            (3, Gen.Choose(0, 1000).Select(delta => 1_760_000_000_000 + delta)),
            (1, Gen.Elements(-1L, 0L, long.MaxValue)))
        from key in Bytes()
        from value in Bytes()
        from headers in Headers()
        select new Record { Offset = gap, Timestamp = timestamp, Key = key, Value = value, Headers = headers };

    private static Gen<Batch> Batches() =>
        from compression in Gen.Elements(Enum.GetValues<CompressionType>())
        from appendTime in Gen.Elements(false, true)
        from producer in Gen.Elements(false, true)
        from sequence in Gen.Elements(0, 17, int.MaxValue - 1)
        from baseOffset in Gen.Elements(0L, 1000L, 1L << 40)
        from count in Gen.Choose(1, 30)
        from records in Gen.ArrayOf(Records(), count)
        select new Batch(
            new RecordBatchOptions
            {
                BaseOffset = baseOffset,
                Compression = compression,
                TimestampType = appendTime ? TimestampType.LogAppendTime : TimestampType.CreateTime,
                MaxTimestamp = appendTime ? 1_760_000_009_999 : null,
                ProducerId = producer ? 4711 : -1,
                ProducerEpoch = (short)(producer ? 3 : -1),
                BaseSequence = producer ? sequence : -1,
                IsTransactional = producer && sequence == 17,
            },
            Number(records, baseOffset, producer ? sequence : -1));

    /// <summary>Turns the gaps that were generated as offsets into offsets, and counts the sequences.</summary>
    private static List<Record> Number(Record[] records, long baseOffset, int baseSequence)
    {
        var offset = baseOffset - 1;
        return [.. records.Select(record =>
        {
            offset += record.Offset;
            var sequence = baseSequence < 0
                ? -1
                : (int)((baseSequence + (offset - baseOffset)) % (1L << 31));
            return record with { Offset = offset, Sequence = sequence };
        })];
    }

    private byte[] Build(Batch batch)
    {
        using var builder = new RecordBatchBuilder(batch.Options, _codecs);
        foreach (var record in batch.Records)
            builder.Append(record);
        return builder.Build().ToArray();
    }

    private void ReadHostile(byte[] bytes)
    {
        foreach (var source in new[] { new ReadOnlySequence<byte>(bytes), BatchVectors.Fragment(bytes, 64, 2) })
        {
            var before = GC.GetAllocatedBytesForCurrentThread();
            try
            {
                foreach (var batch in RecordBatches.Enumerate(source))
                {
                    batch.HasValidCrc();
                    RecordText.Of(batch.Bytes, _codecs, MaxBytes);
                    RecordBatchValidator.Validate(batch.Bytes, _codecs, MaxBytes);
                }
            }
            catch (RecordException error)
            {
                Assert.NotEmpty(error.Message);
            }

            Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 20 * MaxBytes);
        }
    }

    internal sealed record Batch(RecordBatchOptions Options, List<Record> Records)
    {
        public override string ToString() =>
            $"{Options}\n{string.Join('\n', Records.Select(record => RecordText.Of(record)))}";
    }
}
