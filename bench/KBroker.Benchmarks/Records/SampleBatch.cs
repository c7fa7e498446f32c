using System.Text;
using KBroker.Protocol.Records;

namespace KBroker.Benchmarks.Records;

/// <summary>Batches of records of one size whose values compress as text does, about four to one.</summary>
internal static class SampleBatch
{
    public static byte[] Build(int bytes, int recordBytes, CompressionType type, CompressionCodecs codecs)
    {
        using var builder = new RecordBatchBuilder(new RecordBatchOptions { Compression = type }, codecs);
        Fill(builder, bytes, Values(recordBytes));
        return builder.Build().ToArray();
    }

    public static int Fill(RecordBatchBuilder builder, int bytes, ReadOnlyMemory<byte>[] values)
    {
        var key = values[0][..8];
        for (var i = 0; builder.UncompressedBytes + values[0].Length + 40 <= bytes; i++)
            builder.Append(1_760_000_000_000 + i, key, values[i % values.Length]);
        return builder.RecordsCount;
    }

    public static ReadOnlyMemory<byte>[] Values(int recordBytes)
    {
        var random = new Random(1);
        var values = new ReadOnlyMemory<byte>[256];
        for (var i = 0; i < values.Length; i++)
        {
            var text = new StringBuilder();
            while (text.Length < recordBytes)
                text.Append("{\"user\":").Append(random.Next(100_000)).Append(",\"event\":\"click\"}");
            values[i] = Encoding.ASCII.GetBytes(text.ToString(0, recordBytes));
        }

        return values;
    }
}
