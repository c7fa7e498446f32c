using System.Globalization;
using KBroker.Throughput;
using KBroker.Throughput.Delays;

if (args is [RawServer.Mode, var port, var folder])
{
    RawServer.Run(int.Parse(port, CultureInfo.InvariantCulture), folder);
    return 0;
}

if (args is ["--help"] or ["-h"] or ["help"])
{
    Console.WriteLine(Settings.Help);
    return 0;
}

try
{
    var settings = Settings.Parse(args);
    switch (settings.Mode)
    {
        case "throughput":
            new ThroughputRun(settings).Run();
            return 0;
        case "partitions":
            new PartitionsRun(settings).Run();
            return 0;
        case "startup":
            new StartupRun(settings).Run();
            return 0;
        case "open":
            new OpenRun(settings).Run();
            return 0;
        case "recovery":
            new RecoveryRun(settings).Run();
            return 0;
        case "acks":
            new AcksRun(settings).Run();
            return 0;
        case "replay":
            new ReplayRun(settings).Run();
            return 0;
        case "commits":
            new CommitsRun(settings).Run();
            return 0;
        case "transactions":
            new TransactionsRun(settings).Run();
            return 0;
        case "delays":
            new DelaysRun(settings).Run();
            return 0;
        case "crossover":
            new CrossoverRun(settings).Run();
            return 0;
        case "sendfile":
            new SendfileRun(settings).Run();
            return 0;
        case "groups":
            new GroupsRun(settings).Run();
            return 0;
        case "hold":
            using (var broker = new BrokerProcess(settings, settings.Targets[0]))
            {
                broker.Format();
                broker.Start();
                broker.Connect().Dispose();
                Console.WriteLine($"{broker.Target}: port {broker.Port}, pid {broker.Id}, directory {broker.Folder}");
                while (Console.In.Read() >= 0)
                {
                }
            }

            return 0;
        default:
            throw new FormatException($"unknown mode {settings.Mode}");
    }
}
catch (FormatException refused)
{
    Console.Error.WriteLine($"throughput: {refused.Message}\n{Settings.Help}");
    return 2;
}
catch (Exception failed) when (failed is InvalidOperationException or IOException or TimeoutException)
{
    Console.Error.WriteLine($"throughput: {failed.Message}");
    return 1;
}
