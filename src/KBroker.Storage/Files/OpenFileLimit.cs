using System.Runtime.InteropServices;

namespace KBroker.Storage.Files;

/// <summary>How many descriptors the system allows this process (<c>RLIMIT_NOFILE</c>).</summary>
internal static partial class OpenFileLimit
{
    private const int Fallback = 8192;
    private const int Least = 256;
    private const int Most = 1 << 20;

    /// <summary>The limit in force; 8192 where the system does not tell.</summary>
    public static int Get()
    {
        if (OperatingSystem.IsWindows())
            return Fallback;
        // The runtime raises the soft limit to the hard one when it starts.
        var resource = OperatingSystem.IsLinux() ? 7 : 8;
        return GetLimit(resource, out var limit) == 0 ? (int)Math.Clamp(limit.Current, Least, Most) : Fallback;
    }

    [LibraryImport("libc", EntryPoint = "getrlimit")]
    private static partial int GetLimit(int resource, out ResourceLimit limit);

    [StructLayout(LayoutKind.Sequential)]
    private readonly struct ResourceLimit
    {
        public readonly ulong Current;
        public readonly ulong Maximum;
    }
}
