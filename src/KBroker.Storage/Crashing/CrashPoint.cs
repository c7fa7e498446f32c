using System.Diagnostics;

namespace KBroker.Storage.Crashing;

/// <summary>
/// Named places at which a test lets the process die, as kill -9 would: see README.md of this folder, which lists them.
/// </summary>
/// <remarks>
/// Only a build with <c>-p:KBrokerCrashPoints=true</c> knows them. In every other build the calls are not compiled,
/// their names are in no assembly, and what stands here is an empty method (a test looks). The environment variable
/// <c>KBROKER_CRASH_AT</c> says where to die: <c>name</c>, <c>name@detail</c>, or either with <c>:n</c>, the n-th pass
/// from the start of the process on, counted from 1.
/// <para>
/// What is counted is static, against the rule of the house, because what dies is the process: two brokers in one could
/// not die apart. It exists in that test build alone.
/// </para>
/// </remarks>
public static class CrashPoint
{
    /// <summary>Passes a place; the process ends here when it was told to.</summary>
    /// <param name="name">The place, as in the list: lowercase words, the area first.</param>
    /// <param name="detail">What is worked on, where one place serves several things: a file's path, of which the name
    /// counts.</param>
    [Conditional("KBROKER_CRASH_POINTS")]
    public static void Reached(string name, string? detail = null)
    {
#if KBROKER_CRASH_POINTS
        if (Wanted is not { } wanted || wanted.Name != name)
            return;
        if (wanted.Detail is not null && wanted.Detail != Path.GetFileName(detail))
            return;
        if (Interlocked.Increment(ref _passes) == wanted.Pass)
            Die(name, detail);
#endif
    }

    /// <summary>
    /// Passes a place when the records that this thread is about to append are in their log, and on stable storage only
    /// if somebody was quick: for those who write through a coordinator's shard, which appends behind its steps.
    /// </summary>
    /// <param name="name">The place.</param>
    /// <param name="detail">See <see cref="Reached"/>.</param>
    [Conditional("KBROKER_CRASH_POINTS")]
    public static void ReachedOnceAppended(string name, string? detail = null)
    {
#if KBROKER_CRASH_POINTS
        if (Wanted?.Name == name)
            (_announced ??= []).Add((name, detail));
#endif
    }

    /// <summary>The records are in their log: passes what <see cref="ReachedOnceAppended"/> told of.</summary>
    [Conditional("KBROKER_CRASH_POINTS")]
    public static void Appended()
    {
#if KBROKER_CRASH_POINTS
        foreach (var (name, detail) in _announced ?? [])
            Reached(name, detail);
        _announced?.Clear();
#endif
    }

#if KBROKER_CRASH_POINTS
    [ThreadStatic]
    private static List<(string Name, string? Detail)>? _announced;

    private static readonly (string Name, string? Detail, long Pass)? Wanted =
        Parse(Environment.GetEnvironmentVariable("KBROKER_CRASH_AT"));

    private static long _passes;

    private static (string Name, string? Detail, long Pass)? Parse(string? text)
    {
        if (string.IsNullOrEmpty(text))
            return null;
        var pass = 1L;
        if (text.LastIndexOf(':') is var colon and > 0)
        {
            pass = long.Parse(text.AsSpan(colon + 1), System.Globalization.CultureInfo.InvariantCulture);
            text = text[..colon];
        }

        var at = text.IndexOf('@', StringComparison.Ordinal);
        return at < 0 ? (text, null, pass) : (text[..at], text[(at + 1)..], pass);
    }

    private static void Die(string name, string? detail)
    {
        // Unbuffered, so that it is out before the process is gone.
        Console.Error.WriteLine($"KBROKER_CRASH_AT reached: {name} {detail}");
        Console.Error.Flush();
        using var self = Process.GetCurrentProcess();
        self.Kill();
        // The signal may take a moment, in which this thread must not go on.
        Thread.Sleep(Timeout.Infinite);
    }
#endif
}
