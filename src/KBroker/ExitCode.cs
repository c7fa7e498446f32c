namespace KBroker;

/// <summary>What the process's exit code means.</summary>
internal static class ExitCode
{
    /// <summary>It stopped because it was asked to.</summary>
    internal const int Done = 0;

    /// <summary>It failed while it ran.</summary>
    internal const int Failed = 1;

    /// <summary>The command line or a property is wrong; nothing was started.</summary>
    internal const int BadUsage = 2;

    /// <summary>It could not start: a port in use, a directory locked or of another node.</summary>
    internal const int CannotStart = 3;
}
