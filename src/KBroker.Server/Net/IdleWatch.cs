namespace KBroker.Server.Net;

/// <summary>
/// Tells how long a connection has been idle, from its byte counters looked at now and then: so the hot path keeps no
/// time. A connection whose requests the broker is working on is not idle; one whose client does not read its answers
/// is. Not thread-safe.
/// </summary>
internal sealed class IdleWatch
{
    private long _bytes = -1;
    private long _since;

    /// <summary>Looks at the counters.</summary>
    /// <param name="time">The clock.</param>
    /// <param name="bytes">Bytes received and sent since the connection began.</param>
    /// <param name="waitsForBroker">Whether it is the broker's turn.</param>
    /// <returns>Time since the first look that saw the counters as they are.</returns>
    public TimeSpan Update(TimeProvider time, long bytes, bool waitsForBroker)
    {
        if (bytes != _bytes || waitsForBroker)
        {
            _bytes = bytes;
            _since = time.GetTimestamp();
        }
        return time.GetElapsedTime(_since);
    }
}
