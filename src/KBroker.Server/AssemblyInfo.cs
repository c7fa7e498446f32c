using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("KBroker.Server.Tests")]
