using System.Reflection;
using BenchmarkDotNet.Running;
using KBroker.Benchmarks.Delivery;
using KBroker.Benchmarks.Groups;
using KBroker.Benchmarks.Storage;

if (args is [CompactionRun.Mode, ..])
    CompactionRun.Run(args);
else if (args is [IdempotenceRun.Mode])
    IdempotenceRun.Run();
else if (args is [OptedInRun.Mode])
    OptedInRun.Run();
else if (args is [PendingMemoryRun.Mode])
    PendingMemoryRun.Run();
else if (args is [ClassicMembersRun.Mode])
    ClassicMembersRun.Run();
else
    BenchmarkSwitcher.FromAssembly(Assembly.GetExecutingAssembly()).Run(args);
