using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace KBroker.Throughput;

/// <summary>System calls that .NET has no name for.</summary>
internal static partial class NativeFile
{
    /// <summary>fdatasync(2).</summary>
    [LibraryImport("libc", EntryPoint = "fdatasync", SetLastError = true)]
    internal static partial int Fdatasync(SafeFileHandle file);

    /// <summary>syncfs(2).</summary>
    [LibraryImport("libc", EntryPoint = "syncfs", SetLastError = true)]
    internal static partial int Syncfs(SafeFileHandle file);

    /// <summary>Lets the page cache forget what it has of a file, as far as that is on stable storage.</summary>
    internal static int Forget(SafeFileHandle file)
    {
        const int dontNeed = 4;
        return Advise(file, 0, 0, dontNeed);
    }

    [LibraryImport("libc", EntryPoint = "posix_fadvise")]
    private static partial int Advise(SafeFileHandle file, long offset, long length, int advice);
}
