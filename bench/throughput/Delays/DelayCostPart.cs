using KBroker.Protocol.Records;

namespace KBroker.Throughput.Delays;

/// <summary>
/// What a topic that opted in to delays, and gets none, costs more than one that did not: produce of the same batches
/// to both in turns, uncompressed and compressed, records with a header of another kind and without.
/// </summary>
internal sealed class DelayCostPart(Settings settings)
{
    private static readonly CompressionType[] Kinds =
        [CompressionType.None, CompressionType.Lz4, CompressionType.Zstd];

    private readonly DirectDriver _driver = new(settings);
    private int _topics;

    internal void Run()
    {
        using var broker = DelaysRun.Start(settings);
        Console.WriteLine(
            "| record | header | codec | plain MB/s | opted in MB/s | ratio | least, most "
            + "| plain CPU s/GB | opted in CPU s/GB | ratio | least, most |");
        Console.WriteLine("|--:|---|---|--:|--:|--:|---|--:|--:|--:|---|");
        foreach (int recordBytes in settings.RecordBytes)
        {
            foreach (bool hasHeader in (bool[])[false, true])
            {
                foreach (var codec in Kinds)
                    Compare(broker, recordBytes, hasHeader, codec);
            }
        }
    }

    private void Compare(BrokerProcess broker, int recordBytes, bool hasHeader, CompressionType codec)
    {
        var headers = hasHeader
            ? RecordHeaders.Create(new RecordHeader("traceparent", new byte[55]))
            : RecordHeaders.Empty;
        var options = new RecordBatchOptions { Compression = codec };
        var plain = new List<Measurement>();
        var optedIn = new List<Measurement>();
        for (int round = -1; round < settings.Rounds; round++)
        {
            // In turns, so that none is always the one that comes first.
            foreach (bool isDelaying in (bool[])[round % 2 == 0, round % 2 != 0])
            {
                using var topics = new DelayTopics(
                    broker, $"cost-{++_topics}", 1, settings.Connections, isDelaying);
                var load = _driver.Prepare(topics.All[0].Id, recordBytes, options, headers);
                var measured = Measurement.Of(broker.Id, () => _driver.Produce(broker.Port, load, settings.Bytes));
                if (round >= 0) (isDelaying ? optedIn : plain).Add(measured);
            }
        }

        Console.WriteLine(
            DelaysRun.Text($"| {recordBytes} B | {(hasHeader ? "yes" : "no")} | {codec} ")
            + Row(plain, optedIn, static m => m.MegabytesPerSecond, "F0")
            + Row(plain, optedIn, static m => m.ServerCpuPerGigabyte, "F3") + " |");
    }

    private static string Row(
        List<Measurement> plain, List<Measurement> optedIn, Func<Measurement, double> figure, string format)
    {
        var ratios = plain.Zip(optedIn, (one, other) => figure(other) / figure(one)).ToList();
        string one = Results.Median(plain.Select(figure)).ToString(format, null);
        string other = Results.Median(optedIn.Select(figure)).ToString(format, null);
        return DelaysRun.Text($"| {one} | {other} | {Results.Median(ratios):F3} ")
            + DelaysRun.Text($"| {ratios.Min():F2}, {ratios.Max():F2} ");
    }
}
