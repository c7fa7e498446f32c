using System.Globalization;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;

namespace KBroker.Throughput;

/// <summary>
/// From which size on a fetch answer is cheaper by sendfile than copied: two KBrokers, of which one sends every answer
/// by sendfile and the other none, take turns at each size. What counts is the broker's processor time for an answer,
/// in the round in which it was least: whatever else the machine does only adds to it.
/// </summary>
internal sealed class CrossoverRun(Settings settings)
{
    private const short FetchVersion = 17;
    private const int BatchesInLog = 64;
    private const string Property = "kbroker.sendfile.min.bytes";

    internal void Run()
    {
        using var sends = Start(0);
        using var copies = Start(int.MaxValue);
        var figures = settings.Kilobytes.ToDictionary(k => k, _ => new List<(double SendFile, double Copy)>());
        Measure(sends, 16 * 1024, 2_000);
        Measure(copies, 16 * 1024, 2_000);
        for (int round = 0; round < settings.Rounds; round++)
        {
            foreach (int size in settings.Kilobytes)
            {
                int count = Math.Clamp(settings.Answers * 16 / size, settings.Answers / 8, settings.Answers);
                var pair = (Measure(sends, size * 1024, count), Measure(copies, size * 1024, count));
                figures[size].Add(pair);
                Console.Error.WriteLine(Text($"  {size,4} KB  sendfile {pair.Item1:F1} us  copied {pair.Item2:F1} us"));
            }
        }

        Console.WriteLine("| answer | sendfile, CPU us | copied, CPU us | sendfile : copied |");
        Console.WriteLine("|--:|--:|--:|--:|");
        foreach (var (size, pairs) in figures)
        {
            Console.WriteLine(
                Text($"| {size} KB | {pairs.Min(p => p.SendFile):F1} | {pairs.Min(p => p.Copy):F1} ")
                + Text($"| {pairs.Min(p => p.SendFile) / pairs.Min(p => p.Copy):F2} |"));
        }
    }

    private BrokerProcess Start(int sendFileMinBytes)
    {
        var broker = new BrokerProcess(
            settings with { Overrides = [.. settings.Overrides, $"{Property}={sendFileMinBytes}"] }, "kbroker");
        broker.Start();
        broker.Connect().Dispose();
        return broker;
    }

    /// <summary>The broker's microseconds of processor time for an answer with one batch of a size.</summary>
    private double Measure(BrokerProcess broker, int batchBytes, int count)
    {
        var driver = new DirectDriver(settings with { Connections = 1, BatchBytes = batchBytes });
        using var topic = new Topic(broker, $"crossover-{batchBytes}-", 1);
        var load = driver.Prepare(topic.Id, settings.RecordBytes[0]);
        driver.Produce(broker.Port, load, (long)load.BatchBytes * BatchesInLog);
        var frames = Enumerable.Range(0, BatchesInLog)
            .Select(batch => Frame(topic.Id, (long)batch * load.RecordsPerBatch, load.BatchBytes)).ToArray();
        var measured = Measurement.Of(broker.Id, () =>
        {
            DirectDriver.InThreads(settings.Connections, _ =>
            {
                using var connection = new ProtocolConnection(broker.Port, batchBytes + (64 * 1024));
                for (int i = 0; i < count; i++)
                {
                    connection.Send(frames[i % BatchesInLog].ToArray());
                    var answer = connection.Receive<FetchResponse>(ApiKey.Fetch, FetchVersion);
                    var records = answer.Responses[0].Partitions[0].Records ?? Records.Empty;
                    if (records.SizeInBytes != load.BatchBytes)
                        throw new InvalidDataException($"{records.SizeInBytes} bytes, not {load.BatchBytes}");
                }
            });
            return count * settings.Connections;
        });
        return measured.ServerCpuSeconds * 1e6 / measured.Bytes;
    }

    private static byte[] Frame(Uuid topicId, long offset, int maxBytes) => ProtocolConnection.Frame(
        new FetchRequest
        {
            MaxWaitMs = 0,
            MinBytes = 1,
            MaxBytes = maxBytes,
            Topics =
            [
                new()
                {
                    TopicId = topicId,
                    Partitions = [new() { Partition = 0, FetchOffset = offset, PartitionMaxBytes = maxBytes }],
                },
            ],
        },
        FetchVersion);

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
