using KBroker.Protocol.Records;

namespace KBroker.Throughput.Delays;

/// <summary>
/// Fetch of a log of which one batch in a hundred hides a record, or all of its records, beside the same log without
/// any; both read in turns from the page cache.
/// </summary>
internal sealed class DelayFetchPart(Settings settings)
{
    private const int Every = 100;
    private const long DayMs = 86_400_000;

    private enum Kind
    {
        Plain,
        OneRecord,
        WholeBatch,
    }

    internal void Run()
    {
        using var broker = DelaysRun.Start(settings);
        Console.WriteLine("| record | log | MB/s | rate to plain | least, most | CPU s/GB | ratio | least, most |");
        Console.WriteLine("|--:|---|--:|--:|---|--:|--:|---|");
        foreach (int recordBytes in settings.RecordBytes)
        {
            var kinds = Enum.GetValues<Kind>();
            var topics = kinds.ToDictionary(
                static kind => kind, kind => Fill(broker, kind, recordBytes));
            var all = kinds.ToDictionary(static kind => kind, static _ => new List<Measurement>());
            for (int round = -1; round < settings.Rounds; round++)
            {
                foreach (var kind in round % 2 == 0 ? kinds : [.. kinds.Reverse()])
                {
                    var measured = Fetch(broker, topics[kind].Topics, topics[kind].Bytes);
                    if (round >= 0) all[kind].Add(measured);
                }
            }

            foreach (var (kind, list) in all)
            {
                Console.WriteLine(
                    DelaysRun.Text($"| {recordBytes} B | {Name(kind)} ")
                    + Row(list, all[Kind.Plain], static m => m.MegabytesPerSecond)
                    + Row(list, all[Kind.Plain], static m => m.ServerCpuPerGigabyte) + "|");
            }

            foreach (var (filled, _) in topics.Values) filled.Dispose();
        }
    }

    private static string Name(Kind kind) => kind switch
    {
        Kind.Plain => "no flagged batch",
        Kind.OneRecord => "1 % of batches hide a record",
        _ => "1 % of batches are hidden",
    };

    private static string Row(List<Measurement> list, List<Measurement> plain, Func<Measurement, double> figure)
    {
        var ratios = list.Zip(plain, (one, other) => figure(one) / figure(other)).ToList();
        return DelaysRun.Text($"| {Results.Median(list.Select(figure)):G3} | {Results.Median(ratios):F2} ")
            + DelaysRun.Text($"| {ratios.Min():F2}, {ratios.Max():F2} ");
    }

    private (DelayTopics Topics, long Bytes) Fill(BrokerProcess broker, Kind kind, int recordBytes)
    {
        var topics = new DelayTopics(
            broker, $"fetch-{kind}-{recordBytes}", 1, settings.Connections, kind != Kind.Plain);
        using var builder = new RecordBatchBuilder(RecordBatchOptions.Default);
        var value = new byte[recordBytes];
        new Random(7).NextBytes(value);
        var request = DelayLoad.At(DelayLoad.NowMs + DayMs);
        int perBatch = settings.BatchBytes / RecordBatchBuilder.MaxRecordBytes(0, recordBytes);
        long batches = settings.Bytes / settings.BatchBytes / settings.Connections;
        DirectDriver.InThreads(settings.Connections, partition =>
        {
            using var connection = broker.Connect();
            byte[][] frames;
            lock (builder) frames = [Build(false), Build(true)];
            for (long i = 0; i < batches; i++)
            {
                connection.Send(frames[kind != Kind.Plain && i % Every == Every / 2 ? 1 : 0]);
                DelayLoad.Check(connection.Receive<Protocol.Messages.ProduceResponse>(
                    Protocol.ApiKey.Produce, ProducerFrame.ProduceVersion));
            }

            byte[] Build(bool isFlagged)
            {
                builder.Reset(RecordBatchOptions.Default);
                for (int i = 0; i < perBatch; i++)
                {
                    bool hides = isFlagged && (kind == Kind.WholeBatch || i == perBatch / 2);
                    builder.Append(
                        DelayLoad.NowMs, null, (ReadOnlyMemory<byte>?)value, hides ? request : RecordHeaders.Empty);
                }

                return DelayLoad.Frame(topics.Places[partition], builder.Build());
            }
        });
        topics.Settle();
        return (topics, batches * settings.Connections * settings.BatchBytes);
    }

    private Measurement Fetch(BrokerProcess broker, DelayTopics topics, long bytes)
    {
        using var connection = broker.Connect();
        var ends = topics.TryEndOffsets(connection) ?? throw new InvalidOperationException("ListOffsets failed");
        var driver = new DirectDriver(settings);
        return Measurement.Of(broker.Id, () =>
        {
            driver.Fetch(broker.Port, topics.All[0], ends);
            return bytes;
        });
    }
}
