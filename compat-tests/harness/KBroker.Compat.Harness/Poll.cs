namespace KBroker.Compat.Harness;

/// <summary>Waiting for a condition with a deadline, not for a time that is hoped to suffice.</summary>
public static class Poll
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(50);

    /// <summary>Asks <paramref name="condition"/> until it is true.</summary>
    /// <param name="what">What is waited for; the text of the failure.</param>
    /// <param name="condition">Asked about twenty times a second.</param>
    /// <param name="limit">How long; 60 s when not given.</param>
    /// <exception cref="TimeoutException">The condition was not true in time.</exception>
    public static async Task UntilAsync(string what, Func<Task<bool>> condition, TimeSpan? limit = null)
    {
        var wait = limit ?? TimeSpan.FromSeconds(60);
        var started = TimeProvider.System.GetTimestamp();
        while (!await condition())
        {
            if (TimeProvider.System.GetElapsedTime(started) > wait)
                throw new TimeoutException($"not within {wait.TotalSeconds} s: {what}");
            await Task.Delay(Interval);
        }
    }

    /// <summary>Asks <paramref name="condition"/> until it is true; see the other overload.</summary>
    /// <param name="what">What is waited for; the text of the failure.</param>
    /// <param name="condition">Asked about twenty times a second.</param>
    /// <param name="limit">How long; 60 s when not given.</param>
    /// <exception cref="TimeoutException">The condition was not true in time.</exception>
    public static Task UntilAsync(string what, Func<bool> condition, TimeSpan? limit = null) =>
        UntilAsync(what, () => Task.FromResult(condition()), limit);
}
