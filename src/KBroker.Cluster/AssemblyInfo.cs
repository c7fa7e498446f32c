using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("KBroker.Cluster.Tests")]
