using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("KBroker.Timing.Tests")]
[assembly: InternalsVisibleTo("KBroker.Benchmarks")]
