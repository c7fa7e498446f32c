using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("KBroker.Delivery.Tests")]
[assembly: InternalsVisibleTo("KBroker.Server.Tests")]
[assembly: InternalsVisibleTo("KBroker.Benchmarks")]
