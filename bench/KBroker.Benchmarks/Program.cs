using System.Reflection;
using BenchmarkDotNet.Running;
using KBroker.Benchmarks.Storage;

if (args is [CompactionRun.Mode, ..])
    CompactionRun.Run(args);
else
    BenchmarkSwitcher.FromAssembly(Assembly.GetExecutingAssembly()).Run(args);
