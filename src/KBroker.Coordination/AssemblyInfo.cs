using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("KBroker.Coordination.Tests")]
[assembly: InternalsVisibleTo("KBroker.Server.Tests")]
[assembly: InternalsVisibleTo("KBroker.Benchmarks")]
