using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("KBroker.Protocol.Tests")]
[assembly: InternalsVisibleTo("KBroker.Benchmarks")]
