using System.Globalization;
using System.Runtime.InteropServices;

namespace KBroker.Throughput;

/// <summary>What the kernel says about a process: all of its threads, also those that have ended.</summary>
internal static partial class ProcessUsage
{
    /// <summary>User and system time in seconds, to the nanosecond: the clock that the kernel keeps for it.</summary>
    internal static double CpuSeconds(int processId)
    {
        if (CpuClockOf(processId, out int clock) != 0 || Now(clock, out var time) != 0)
            throw new InvalidOperationException($"no processor time of process {processId}");
        return time.Seconds + (time.Nanoseconds / 1e9);
    }

    /// <summary>A line of /proc/PID/status such as VmRSS, VmHWM or RssAnon, in MB of 10^6 bytes.</summary>
    internal static double Megabytes(int processId, string name)
    {
        string line = File.ReadLines($"/proc/{processId}/status")
            .First(l => l.StartsWith(name + ":", StringComparison.Ordinal));
        string kilobytes = line.Split((char[])[' ', '\t'], StringSplitOptions.RemoveEmptyEntries)[1];
        return long.Parse(kilobytes, CultureInfo.InvariantCulture) * 1024 / 1e6;
    }

    [LibraryImport("libc", EntryPoint = "clock_getcpuclockid")]
    private static partial int CpuClockOf(int processId, out int clock);

    [LibraryImport("libc", EntryPoint = "clock_gettime")]
    private static partial int Now(int clock, out TimeSpec time);

    /// <summary>struct timespec of 64-bit systems.</summary>
    private struct TimeSpec
    {
        internal long Seconds;
        internal long Nanoseconds;
    }
}
