using System.Diagnostics;

namespace KBroker.Throughput;

/// <summary>One timed run: what was moved, how long it took, and what it cost the process that served it.</summary>
internal readonly record struct Measurement(
    long Bytes,
    double Seconds,
    double ServerCpuSeconds,
    double ClientCpuSeconds,
    double ResidentMegabytes)
{
    internal double MegabytesPerSecond => Bytes / 1e6 / Seconds;

    internal double ServerCpuPerGigabyte => ServerCpuSeconds * 1e9 / Bytes;

    internal double ClientCpuPerGigabyte => ClientCpuSeconds * 1e9 / Bytes;

    /// <summary>Times an action that returns the bytes it moved.</summary>
    internal static Measurement Of(int serverProcessId, Func<long> action)
    {
        double server = ProcessUsage.CpuSeconds(serverProcessId);
        double client = ProcessUsage.CpuSeconds(Environment.ProcessId);
        var clock = Stopwatch.StartNew();
        long bytes = action();
        double seconds = clock.Elapsed.TotalSeconds;
        return new Measurement(
            bytes,
            seconds,
            ProcessUsage.CpuSeconds(serverProcessId) - server,
            ProcessUsage.CpuSeconds(Environment.ProcessId) - client,
            ProcessUsage.Megabytes(serverProcessId, "VmRSS"));
    }
}
