using KBroker.Storage;

namespace KBroker.Cluster.Configuration;

/// <summary>Turns a broker's configs, known by Kafka's names, into what compaction goes by.</summary>
public static class CleanerConfigs
{
    private const long LeastBytesPerThread = 1024 * 1024;

    /// <summary>The settings under a broker's configs.</summary>
    /// <param name="broker">The configs in force.</param>
    /// <returns>The settings.</returns>
    public static CleanerSettings From(BrokerConfigValues broker)
    {
        ArgumentNullException.ThrowIfNull(broker);
        return new CleanerSettings
        {
            Enabled = broker.GetBoolean("log.cleaner.enable"),
            Threads = broker.GetInt("log.cleaner.threads"),
            DedupeBufferBytes = broker.GetLong("log.cleaner.dedupe.buffer.size"),
            LoadFactor = broker.GetDouble("log.cleaner.io.buffer.load.factor"),
            IoBufferBytes = broker.GetInt("log.cleaner.io.buffer.size"),
            MaxBytesPerSecond = broker.GetDouble("log.cleaner.io.max.bytes.per.second"),
            BackoffMs = broker.GetLong("log.cleaner.backoff.ms"),
        };
    }

    /// <summary>Whether each thread gets an offset map worth having.</summary>
    internal static bool HaveRoomForMaps(BrokerConfigValues broker)
    {
        var settings = From(broker);
        return settings.DedupeBufferBytes / Math.Max(1, settings.Threads) > LeastBytesPerThread;
    }

    /// <summary>The rules for a change at run time.</summary>
    internal static string? CheckChange(BrokerConfigValues before, BrokerConfigValues after)
    {
        int old = before.GetInt("log.cleaner.threads"), threads = after.GetInt("log.cleaner.threads");
        if (threads < 1)
            return "Log cleaner threads should be at least 1";
        if (threads < old / 2)
            return $"Log cleaner threads cannot be reduced to less than half the current value {old}";
        return threads > old * 2
            ? $"Log cleaner threads cannot be increased to more than double the current value {old}"
            : null;
    }
}
