using System.Reflection;
using BenchmarkDotNet.Running;
using KBroker.Benchmarks.Groups;
using KBroker.Benchmarks.Storage;

if (args is [CompactionRun.Mode, ..])
    CompactionRun.Run(args);
else if (args is [IdempotenceRun.Mode])
    IdempotenceRun.Run();
else if (args is [ClassicMembersRun.Mode])
    ClassicMembersRun.Run();
else
    BenchmarkSwitcher.FromAssembly(Assembly.GetExecutingAssembly()).Run(args);
