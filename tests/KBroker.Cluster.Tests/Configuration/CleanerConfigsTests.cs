using KBroker.Cluster.Configuration;
using KBroker.Storage;

namespace KBroker.Cluster.Tests.Configuration;

public sealed class CleanerConfigsTests
{
    [Fact]
    public void The_defaults_of_broker_and_storage_agree() => Assert.Equal(new CleanerSettings(), From());

    [Fact]
    public void Every_config_of_the_cleaner_is_handed_on()
    {
        var settings = From(
            ("log.cleaner.enable", "false"),
            ("log.cleaner.threads", "3"),
            ("log.cleaner.dedupe.buffer.size", "50000000"),
            ("log.cleaner.io.buffer.load.factor", "0.5"),
            ("log.cleaner.io.buffer.size", "600000"),
            ("log.cleaner.io.max.bytes.per.second", "1000.5"),
            ("log.cleaner.backoff.ms", "77"));
        var expected = new CleanerSettings
        {
            Enabled = false,
            Threads = 3,
            DedupeBufferBytes = 50_000_000,
            LoadFactor = 0.5,
            IoBufferBytes = 600_000,
            MaxBytesPerSecond = 1000.5,
            BackoffMs = 77,
        };
        Assert.Equal(expected, settings);
    }

    private static CleanerSettings From(params (string Name, string Value)[] configs) =>
        CleanerConfigs.From(ConfigRulesTests.With(configs));
}
