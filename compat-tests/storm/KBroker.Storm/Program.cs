using Confluent.Kafka;
using Confluent.Kafka.Admin;
using KBroker.Compat.Harness;
using KBroker.Storm;
using KBroker.Storm.Members;
using KBroker.Storm.Workers;

if (args is ["worker"])
{
    await WorkerHost.RunAsync();
    return 0;
}

if (args.Contains("--help") || args.Contains("-h"))
{
    Console.WriteLine(StormOptions.Help);
    return 0;
}

StormOptions options;
try
{
    options = StormOptions.Parse(args);
}
catch (FormatException problem)
{
    Console.Error.WriteLine($"storm: {problem.Message}\n{StormOptions.Help}");
    return 2;
}

Librdkafka.Resolve(clientToo: true);
Console.WriteLine($"seed {options.Seed}: {options.Members} members in {options.Processes} processes, {options.Partitions} partitions");
await using var broker = await BrokerProcess.StartAsync(
    "group.consumer.min.session.timeout.ms=6000",
    "group.consumer.session.timeout.ms=10000",
    "group.consumer.min.heartbeat.interval.ms=500",
    "group.consumer.heartbeat.interval.ms=500",
    "auto.create.topics.enable=false");
using (var admin = new AdminClientBuilder(new AdminClientConfig { BootstrapServers = broker.Bootstrap })
    .SetLogHandler(static (_, _) => { }).Build())
{
    await admin.CreateTopicsAsync(options.Protocols.Select(
        p => new TopicSpecification { Name = $"storm-{p}", NumPartitions = options.Partitions, ReplicationFactor = 1 }));
}

var failed = 0;
foreach (var protocol in options.Protocols)
{
    var problems = await new GroupStorm(options, broker.Bootstrap, protocol, Console.Out).RunAsync();
    foreach (var problem in problems.Take(20))
        Console.WriteLine($"VIOLATION {protocol}: {problem}");
    Console.WriteLine($"{(problems.Count == 0 ? "ok" : "FAIL")} {protocol}");
    failed += problems.Count == 0 ? 0 : 1;
}

if (failed > 0)
    Console.WriteLine($"---- end of the broker's log\n{broker.LogTail}\n----");
Console.WriteLine($"{options.Protocols.Count - failed} passed, {failed} failed, 0 skipped (storm)");
return failed == 0 ? 0 : 1;
