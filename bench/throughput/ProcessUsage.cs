using System.Globalization;

namespace KBroker.Throughput;

/// <summary>What the kernel says about a process: all of its threads, also those that have ended.</summary>
internal static class ProcessUsage
{
    // USER_HZ, the unit of /proc/PID/stat, is 100 on every Linux that .NET runs on.
    private const double TicksPerSecond = 100;

    /// <summary>User and system time in seconds, to 10 ms (utime and stime of /proc/PID/stat).</summary>
    internal static double CpuSeconds(int processId)
    {
        string line = File.ReadAllText($"/proc/{processId}/stat");
        // The second field, the program's name in parentheses, may hold spaces.
        string[] fields = line[(line.LastIndexOf(')') + 2)..].Split(' ');
        return (long.Parse(fields[11], CultureInfo.InvariantCulture)
            + long.Parse(fields[12], CultureInfo.InvariantCulture)) / TicksPerSecond;
    }

    /// <summary>A line of /proc/PID/status such as VmRSS, VmHWM or RssAnon, in MB of 10^6 bytes.</summary>
    internal static double Megabytes(int processId, string name)
    {
        string line = File.ReadLines($"/proc/{processId}/status")
            .First(l => l.StartsWith(name + ":", StringComparison.Ordinal));
        string kilobytes = line.Split((char[])[' ', '\t'], StringSplitOptions.RemoveEmptyEntries)[1];
        return long.Parse(kilobytes, CultureInfo.InvariantCulture) * 1024 / 1e6;
    }
}
