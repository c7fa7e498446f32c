using System.Globalization;

namespace KBroker.Throughput.Delays;

/// <summary>What delayed records cost: one part for each demand, each with a broker of its own.</summary>
internal sealed class DelaysRun(Settings settings)
{
    /// <summary>Topics that the pending records are spread over.</summary>
    internal const int TopicsCount = 100;

    internal void Run()
    {
        (string Name, Action Run)[] parts =
        [
            ("memory", () => new DelayMemoryPart(settings).Run()),
            ("due", () => new DelayDuePart(settings).Run()),
            ("lateness", () => new DelayLatenessPart(settings).Run()),
            ("opted-in", () => new DelayCostPart(settings).Run()),
            ("fetch", () => new DelayFetchPart(settings).Run()),
            ("start", () => new DelayStartPart(settings).Run()),
        ];
        foreach (var (name, run) in parts)
        {
            if (!name.Contains(settings.Load, StringComparison.Ordinal)) continue;
            Console.WriteLine($"\n### {name} (load average {LoadAverage()})\n");
            run();
        }
    }

    /// <summary>A broker that runs.</summary>
    internal static BrokerProcess Start(Settings settings)
    {
        var broker = new BrokerProcess(settings, "kbroker");
        broker.Start();
        broker.Connect().Dispose();
        return broker;
    }

    internal static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    private static string LoadAverage() => File.ReadAllText("/proc/loadavg").Split(' ')[0];
}
