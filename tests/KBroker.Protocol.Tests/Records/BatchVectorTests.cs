using System.Buffers;
using System.Text.Json;
using KBroker.Protocol.Records;

namespace KBroker.Protocol.Tests.Records;

public sealed class BatchVectorTests
{
    private const int MaxBytes = 4 * 1024 * 1024;
    private readonly CompressionCodecs _codecs = new();

    public static TheoryData<string> CurrentFormat => BatchVectors.Names(name => !name.StartsWith("magic"));

    public static TheoryData<string> OldFormats => BatchVectors.Names(name => name.StartsWith("magic"));

    [Theory]
    [MemberData(nameof(CurrentFormat))]
    public void Batches_that_Kafka_wrote_are_read_as_Kafka_reads_them(string name)
    {
        var bytes = BatchVectors.Get(name);
        var expected = JsonDocument.Parse(BatchVectors.Json(name)).RootElement;
        var batches = expected.TryGetProperty("batches", out var several) ? [.. several.EnumerateArray()]
            : new List<JsonElement> { expected };
        foreach (var whole in new[]
        {
            new ReadOnlySequence<byte>(bytes), BatchVectors.Fragment(bytes, 1, 2, 3, 50),
            BatchVectors.Fragment(bytes, 61),
            BatchVectors.Fragment(bytes, 4096),
        })
        {
            var index = 0;
            foreach (var batch in RecordBatches.Enumerate(whole))
            {
                Assert.True(batch.HasValidCrc());
                CompareHeader(batches[index], batch.Header);
                CompareRecords(batches[index], batch);
                index++;
            }

            Assert.Equal(batches.Count, index);
        }
    }

    [Theory]
    [MemberData(nameof(CurrentFormat))]
    public void Rebuilding_the_records_of_an_uncompressed_batch_gives_the_bytes_of_Kafka(string name)
    {
        foreach (var batch in RecordBatches.Enumerate(new ReadOnlySequence<byte>(BatchVectors.Get(name))))
        {
            if (batch.Header.Compression != CompressionType.None)
                continue;
            var options = RecordBatchOptions.Like(batch.Header);
            if (batch.Header.RecordsCount == 0)
                options = options with { MaxTimestamp = batch.Header.MaxTimestamp };
            using var builder = new RecordBatchBuilder(options);
            using var reader = new RecordBatchReader(batch.Bytes, _codecs, MaxBytes);
            if (batch.Header.TimestampType == TimestampType.LogAppendTime)
                continue; // The producer's own timestamps are not shown by a reader.
            while (reader.TryRead(out var record))
                builder.Append(record);
            Assert.Equal(Convert.ToHexString(batch.Bytes.ToArray()), Convert.ToHexString(builder.Build().Span));
        }
    }

    [Theory]
    [MemberData(nameof(CurrentFormat))]
    public void Recompressing_a_batch_of_Kafka_keeps_everything_but_the_codec(string name)
    {
        foreach (var batch in RecordBatches.Enumerate(new ReadOnlySequence<byte>(BatchVectors.Get(name))))
        {
            var before = RecordText.Of(batch.Bytes, _codecs, MaxBytes);
            foreach (var type in Enum.GetValues<CompressionType>())
            {
                using var recoded = RecordBatchTransformer.Recompress(batch.Bytes, type, null, _codecs, MaxBytes);
                var bytes = new ReadOnlySequence<byte>(recoded.Memory);
                Assert.True(RecordBatches.HasValidCrc(bytes));
                Assert.Equal(before, RecordText.Of(bytes, _codecs, MaxBytes));
                Assert.True(RecordBatchHeader.TryParse(bytes, out var header));
                Assert.Equal(batch.Header.RecordsCount == 0 ? CompressionType.None : type, header.Compression);
            }
        }
    }

    [Theory]
    [MemberData(nameof(OldFormats))]
    public void Old_message_formats_are_refused_by_name(string name)
    {
        var bytes = new ReadOnlySequence<byte>(BatchVectors.Get(name));
        Assert.Equal(RecordBatchStatus.OldFormat, RecordBatches.Inspect(bytes, out _));
        var error = Assert.Throws<InvalidRecordException>(() =>
        {
            foreach (var batch in RecordBatches.Enumerate(bytes))
                Assert.Fail($"A batch of {batch.Bytes.Length} bytes.");
        });
        Assert.Equal(RecordErrorKind.UnsupportedForMessageFormat, error.Kind);
        Assert.Contains("magic 2", error.Message);
        Assert.Throws<InvalidRecordException>(() => RecordBatchValidator.Validate(bytes, _codecs, MaxBytes));
    }

    private static void CompareHeader(JsonElement expected, RecordBatchHeader header)
    {
        Assert.Equal(expected.GetProperty("magic").GetInt32(), header.Magic);
        Assert.Equal(expected.GetProperty("sizeInBytes").GetInt32(), header.SizeInBytes);
        Assert.Equal(expected.GetProperty("baseOffset").GetInt64(), header.BaseOffset);
        Assert.Equal(expected.GetProperty("lastOffsetDelta").GetInt32(), header.LastOffsetDelta);
        Assert.Equal(expected.GetProperty("partitionLeaderEpoch").GetInt32(), header.PartitionLeaderEpoch);
        Assert.Equal(expected.GetProperty("crc").GetUInt32(), header.Crc);
        Assert.Equal(expected.GetProperty("attributes").GetInt16(), (short)header.Attributes);
        Assert.Equal(expected.GetProperty("compression").GetString(), header.Compression.ToString().ToLowerInvariant());
        Assert.Equal(expected.GetProperty("timestampType").GetString() == "LOG_APPEND_TIME",
            header.TimestampType == TimestampType.LogAppendTime);
        Assert.Equal(expected.GetProperty("baseTimestamp").GetInt64(), header.BaseTimestamp);
        Assert.Equal(expected.GetProperty("maxTimestamp").GetInt64(), header.MaxTimestamp);
        Assert.Equal(expected.GetProperty("producerId").GetInt64(), header.ProducerId);
        Assert.Equal(expected.GetProperty("producerEpoch").GetInt16(), header.ProducerEpoch);
        Assert.Equal(expected.GetProperty("baseSequence").GetInt32(), header.BaseSequence);
        Assert.Equal(expected.GetProperty("isTransactional").GetBoolean(), header.IsTransactional);
        Assert.Equal(expected.GetProperty("isControl").GetBoolean(), header.IsControl);
        var horizon = expected.GetProperty("deleteHorizonMs");
        Assert.Equal(horizon.ValueKind != JsonValueKind.Null, header.HasDeleteHorizon);
        if (header.HasDeleteHorizon)
            Assert.Equal(horizon.GetInt64(), header.BaseTimestamp);
        Span<byte> written = stackalloc byte[RecordBatchLayout.HeaderSize];
        header.Write(written);
        Assert.True(RecordBatchHeader.TryParse(written, out var again));
        Assert.Equal(header, again);
    }

    private void CompareRecords(JsonElement expected, in RecordBatch batch)
    {
        var records = expected.GetProperty("records").EnumerateArray().ToList();
        var text = records.Select(record => RecordText.Of(
            record.GetProperty("offset").GetInt64(),
            record.GetProperty("timestamp").GetInt64(),
            record.GetProperty("sequence").GetInt32(),
            record.GetProperty("keyHex").GetString(),
            record.GetProperty("valueHex").GetString(),
            record.GetProperty("headers").EnumerateArray().Select(header =>
                (header[0].GetString()!, header[1].GetString()))));
        Assert.Equal(string.Join('\n', text), RecordText.Of(batch.Bytes, _codecs, MaxBytes));
        CompareSummary(records, batch);
    }

    private void CompareSummary(List<JsonElement> records, in RecordBatch batch)
    {
        var summary = RecordBatchValidator.Validate(batch.Bytes, _codecs, MaxBytes);
        var header = batch.Header;
        Assert.Equal(records.Count, summary.RecordsCount);
        var keyless = records.FindIndex(record => record.GetProperty("keyHex").ValueKind == JsonValueKind.Null);
        Assert.Equal(keyless, summary.FirstKeylessIndex);
        Assert.Equal(records.Count(record => record.GetProperty("keyHex").ValueKind == JsonValueKind.Null),
            summary.KeylessCount);
        Assert.Equal(records.Sum(record => record.GetProperty("headers").GetArrayLength()), summary.HeadersCount);
        var timestamps = records.ConvertAll(record => record.GetProperty("timestamp").GetInt64());
        Assert.Equal(timestamps.DefaultIfEmpty(-1).Max(), summary.MaxTimestamp);
        Assert.Equal(timestamps.DefaultIfEmpty(-1).Min(), summary.MinTimestamp);
        var deltas = records.ConvertAll(record => record.GetProperty("offset").GetInt64() - header.BaseOffset);
        var first = timestamps.IndexOf(summary.MaxTimestamp);
        Assert.Equal(first < 0 ? -1 : deltas[first], summary.OffsetDeltaOfMaxTimestamp);
        Assert.True(summary.OffsetsAscending);
        Assert.Equal(
            deltas.Count == header.LastOffsetDelta + 1L
                && deltas.Select((delta, index) => delta == index).All(same => same),
            summary.OffsetsConsecutive);
    }
}
