using System.Runtime.InteropServices;
using Confluent.Kafka;
using KBroker.Compat.Harness;
using KBroker.Crash;

if (args.Contains("--help") || args.Contains("-h"))
{
    Console.WriteLine(CrashOptions.Help);
    return 0;
}

CrashOptions options;
try
{
    options = CrashOptions.Parse(args);
}
catch (FormatException problem)
{
    Console.Error.WriteLine($"crash: {problem.Message}; --help shows what is possible");
    return 2;
}

if (!File.Exists(options.Executable))
{
    Console.Error.WriteLine($"crash: no {options.Executable}; ./run --build-crash-points builds it");
    return 2;
}

if (CompatEnvironment.LibrdkafkaPath is { } path)
{
    NativeLibrary.SetDllImportResolver(
        typeof(Library).Assembly, (name, _, _) => name == "librdkafka" ? NativeLibrary.Load(path) : 0);
}

return new CrashSession(options, Console.Out).Run() ? 0 : 1;
