using System.Runtime.CompilerServices;

namespace KBroker.Server.Tests.Net;

internal static class ThreadPoolSetup
{
    /// <summary>The test clients block; without spare threads they would wait for the pool to grow.</summary>
    [ModuleInitializer]
    internal static void Prepare() => ThreadPool.SetMinThreads(64, 64);
}
