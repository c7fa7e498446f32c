using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("KBroker.Storage.Tests")]
[assembly: InternalsVisibleTo("KBroker.Cluster.Tests")]
[assembly: InternalsVisibleTo("KBroker.Coordination.Tests")]
[assembly: InternalsVisibleTo("KBroker.Delivery.Tests")]
[assembly: InternalsVisibleTo("KBroker.Benchmarks")]
