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
}
