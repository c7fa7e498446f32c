using System.Diagnostics;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;

namespace KBroker.Throughput;

/// <summary>
/// How long a broker with many partitions takes to create them, to stop, to start again after a clean stop and after
/// SIGKILL, and what an idle partition costs in descriptors and memory.
/// </summary>
internal sealed class OpenRun(Settings settings)
{
    private const short CreateTopicsVersion = 7;
    private const short ListOffsetsVersion = 7;
    private const short ProduceVersion = 9;
    private const int PartitionsPerRequest = 500;
    private const string Name = "many";

    internal void Run()
    {
        Console.WriteLine("| target | partitions | create s | first writes s | stop s | clean open s (all) | ms each "
            + "| stop again s | open after kill s | fds | RSS MB | anonymous MB | CPU s of a clean open |");
        Console.WriteLine("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
        foreach (string target in settings.Brokers())
        {
            foreach (int partitions in settings.Partitions) Measure(target, partitions);
        }
    }

    private void Measure(string target, int partitions)
    {
        using var broker = new BrokerProcess(settings, target);
        broker.Format();
        broker.Start();
        using (broker.Connect())
        {
        }

        double create = Seconds(() => Create(broker, partitions));
        double write = Seconds(() => Write(broker, partitions));
        double stop = Seconds(broker.Stop);
        var opens = new List<double>();
        double stopAgain = 0, cpu = 0, resident = 0, anonymous = 0;
        int descriptors = 0;
        for (int round = 0; round < settings.Rounds; round++)
        {
            opens.Add(Seconds(() => Open(broker, partitions)));
            cpu = ProcessUsage.CpuSeconds(broker.Id);
            descriptors = Directory.GetFiles($"/proc/{broker.Id}/fd").Length;
            resident = ProcessUsage.Megabytes(broker.Id, "VmRSS");
            anonymous = ProcessUsage.Megabytes(broker.Id, "RssAnon");
            if (round < settings.Rounds - 1) stopAgain = Seconds(broker.Stop);
        }

        // The last one is written to and killed, so that every partition has a tail that must be looked at.
        Write(broker, partitions);
        broker.Kill();
        double unclean = Seconds(() => Open(broker, partitions));
        double median = Results.Median(opens);
        string all = string.Join(", ", opens.Select(s => FormattableString.Invariant($"{s:F2}")));
        Console.WriteLine(FormattableString.Invariant(
            $"| {target} | {partitions} | {create:F2} | {write:F2} | {stop:F2} | {median:F2} ({all}) ")
            + FormattableString.Invariant($"| {median * 1000 / partitions:F3} | {stopAgain:F2} | {unclean:F2} ")
            + FormattableString.Invariant($"| {descriptors} | {resident:F0} | {anonymous:F0} | {cpu:F2} |"));
    }

    private static double Seconds(Action run)
    {
        var clock = Stopwatch.StartNew();
        run();
        return clock.Elapsed.TotalSeconds;
    }

    private static void Create(BrokerProcess broker, int partitions)
    {
        using var connection = broker.Connect();
        var request = new CreateTopicsRequest
        {
            Topics = [new() { Name = Name, NumPartitions = partitions, ReplicationFactor = 1 }],
            TimeoutMs = 300_000,
        };
        var result = connection.Call<CreateTopicsResponse>(request, CreateTopicsVersion).Topics[0];
        if (result.ErrorCode != ErrorCode.None)
            throw new InvalidOperationException($"CreateTopics: {result.ErrorCode} {result.ErrorMessage}");
        WaitForAll(broker, connection, partitions);
    }

    /// <summary>From the spawn until every partition tells its end offset.</summary>
    private static void Open(BrokerProcess broker, int partitions)
    {
        broker.Start();
        using var connection = broker.Connect();
        WaitForAll(broker, connection, partitions);
    }

    private static void WaitForAll(BrokerProcess broker, ProtocolConnection connection, int partitions)
    {
        var request = new ListOffsetsRequest { ReplicaId = -1, Topics = [new() { Name = Name }] };
        for (int partition = 0; partition < partitions; partition++)
            request.Topics[0].Partitions.Add(new() { PartitionIndex = partition, Timestamp = -1 });
        while (true)
        {
            var answers = connection.Call<ListOffsetsResponse>(request, ListOffsetsVersion).Topics[0].Partitions;
            if (answers.TrueForAll(p => p.ErrorCode == ErrorCode.None)) return;
            broker.EnsureRunning();
            Thread.Sleep(1);
        }
    }

    /// <summary>One batch of ten records to every partition.</summary>
    private static void Write(BrokerProcess broker, int partitions)
    {
        using var connection = broker.Connect();
        for (int first = 0; first < partitions; first += PartitionsPerRequest)
        {
            var topic = new ProduceRequest.TopicProduceData { Name = Name };
            for (int partition = first; partition < Math.Min(partitions, first + PartitionsPerRequest); partition++)
                topic.PartitionData.Add(new() { Index = partition, Records = new Records(Batch()) });
            var request = new ProduceRequest { Acks = 1, TimeoutMs = 60_000, TopicData = [topic] };
            var answer = connection.Call<ProduceResponse>(request, ProduceVersion).Responses[0].PartitionResponses;
            if (answer.Find(p => p.ErrorCode != ErrorCode.None) is { } refused)
                throw new InvalidOperationException($"Produce to {Name}-{refused.Index}: {refused.ErrorCode}");
        }
    }

    private static byte[] Batch()
    {
        using var builder = new RecordBatchBuilder(RecordBatchOptions.Default);
        long now = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();
        for (int i = 0; i < 10; i++) builder.Append(now, null, new byte[100]);
        return builder.Build().ToArray();
    }
}
