using System.Buffers;
using System.Globalization;
using KBroker.Benchmarks.Storage;
using KBroker.Protocol.Records;
using KBroker.Storage;

namespace KBroker.Benchmarks.Delivery;

/// <summary>
/// What an append costs more in a log whose topic opted in to delays, where no record asks for one: short turns on two
/// logs, one after the other, each by the processor time of the process. So other load concerns both the same.
/// </summary>
internal static class OptedInRun
{
    /// <summary>The first argument.</summary>
    public const string Mode = "opted-in";

    private const int Turns = 300;
    private const int BatchBytes = 16 * 1024;
    private const long BytesOfTurn = 4 * 1024 * 1024;
    private static readonly CompressionCodecs Codecs = new();

    /// <summary>Measures batches of 16 KB, with and without a header, in three codecs.</summary>
    public static void Run()
    {
        Console.WriteLine("| record | header | codec | plain us | opted in us | ratio of sums | median of ratios |");
        Console.WriteLine("|--:|---|---|--:|--:|--:|--:|");
        foreach (var recordBytes in new[] { 100, 1000 })
        {
            foreach (var hasHeader in new[] { false, true })
            {
                foreach (var codec in new[] { CompressionType.None, CompressionType.Lz4, CompressionType.Zstd })
                    Measure(recordBytes, hasHeader, codec);
            }
        }
    }

    private static void Measure(int recordBytes, bool hasHeader, CompressionType codec)
    {
        using var plain = new StorageSample();
        using var optedIn = new StorageSample();
        optedIn.Log.UpdateConfig(optedIn.Log.Config with { DelayEnable = true });
        var batch = Batch(recordBytes, hasHeader, codec);
        var ratios = new List<double>();
        double plainMs = 0, optedInMs = 0;
        for (var turn = -20; turn < Turns; turn++)
        {
            double one, other;
            if (turn % 2 == 0)
            {
                one = Time(plain.Log, batch);
                other = Time(optedIn.Log, batch);
            }
            else
            {
                other = Time(optedIn.Log, batch);
                one = Time(plain.Log, batch);
            }

            if (turn < 0)
                continue;
            plainMs += one;
            optedInMs += other;
            ratios.Add(other / one);
        }

        ratios.Sort();
        var appends = (double)Turns * Appends(batch) / 1000;
        Console.WriteLine(
            string.Create(CultureInfo.InvariantCulture, $"| {recordBytes} B | {(hasHeader ? "yes" : "no")} | {codec} ")
            + string.Create(CultureInfo.InvariantCulture, $"| {plainMs / appends:F2} | {optedInMs / appends:F2} ")
            + string.Create(
                CultureInfo.InvariantCulture, $"| {optedInMs / plainMs:F3} | {ratios[ratios.Count / 2]:F3} |"));
    }

    private static byte[] Batch(int recordBytes, bool hasHeader, CompressionType codec)
    {
        using var builder = new RecordBatchBuilder(new RecordBatchOptions { Compression = codec }, Codecs);
        var headers = hasHeader
            ? RecordHeaders.Create(new RecordHeader("traceparent", new byte[55]))
            : RecordHeaders.Empty;
        var random = new Random(1);
        var value = new byte[recordBytes];
        var now = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
        while (builder.UncompressedBytes < BatchBytes)
        {
            // Half of it repeats itself.
            random.NextBytes(value.AsSpan(0, (recordBytes + 1) / 2));
            builder.Append(now, null, (ReadOnlyMemory<byte>?)value, headers);
        }

        return builder.Build().ToArray();
    }

    private static int Appends(byte[] batch) => (int)(BytesOfTurn / 10 / batch.Length);

    private static double Time(PartitionLog log, byte[] batch)
    {
        var records = new ReadOnlySequence<byte>(batch);
        var began = Environment.CpuUsage.TotalTime;
        for (var i = 0; i < Appends(batch); i++)
        {
            RecordBatchEditor.AssignOffsets(records, 0, -1);
            var result = log.AppendAsLeader(records, 0, AppendOptions.Client);
            if (!result.IsSuccess)
                throw new InvalidOperationException(result.ErrorMessage);
        }

        return (Environment.CpuUsage.TotalTime - began).TotalMilliseconds;
    }
}
