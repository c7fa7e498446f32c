using System.Diagnostics;

namespace KBroker.Server.Tests.Brokers;

/// <summary>Waits for what other threads do.</summary>
internal static class Until
{
    /// <summary>Asks again and again until the answer is yes; fails at the deadline of clients.</summary>
    public static async Task True(Func<Task<bool>> condition)
    {
        var started = Stopwatch.GetTimestamp();
        while (!await condition())
        {
            Assert.True(Stopwatch.GetElapsedTime(started) < ProtocolClient.Deadline, "It did not come about in time.");
            await Task.Delay(10);
        }
    }
}
