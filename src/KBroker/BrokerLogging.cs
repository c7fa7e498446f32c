using KBroker.Cluster.Configuration;
using Microsoft.Extensions.Logging;
using Serilog;
using Serilog.Core;
using Serilog.Events;
using Serilog.Extensions.Logging;

namespace KBroker;

/// <summary>
/// The log: one line an event, on the console and, with <c>kbroker.log.file</c>, in a file that rolls each day and by
/// size. Writing happens on a thread of its own, so that a slow console never holds a client up; when it cannot keep
/// up, events are dropped rather than the broker stopped.
/// </summary>
internal sealed class BrokerLogging : IDisposable
{
    private const int QueuedEvents = 10_000;

    private static readonly (string Area, string Source)[] Areas =
    [
        ("server", "KBroker.Server"),
        ("net", "KBroker.Server.Net"),
        ("dispatch", "KBroker.Server.Dispatch"),
        ("handlers", "KBroker.Server.Handlers"),
        ("hosting", "KBroker.Server.Hosting"),
        ("cluster", "KBroker.Cluster"),
        ("metadata", "KBroker.Cluster.Metadata"),
        ("replication", "KBroker.Cluster.Replication"),
        ("storage", "KBroker.Storage"),
        ("timing", "KBroker.Timing"),
        ("coordination", "KBroker.Coordination"),
        ("delivery", "KBroker.Delivery"),
    ];

    private readonly Logger _logger;

    private BrokerLogging(Logger logger) => _logger = logger;

    /// <summary>Makes the log that the <c>kbroker.log.*</c> configs ask for.</summary>
    internal static BrokerLogging Create(BrokerConfigValues configs)
    {
        var formatter = new LogLineFormatter();
        var configuration = new LoggerConfiguration()
            .MinimumLevel.Is(Level(configs, "kbroker.log.level") ?? LogEventLevel.Information)
            .MinimumLevel.Override("Microsoft", LogEventLevel.Warning)
            // What keeps the host from starting is told once, by ServeCommand, in words for the operator.
            .MinimumLevel.Override("Microsoft.Extensions.Hosting.Internal.Host", LogEventLevel.Fatal)
            .WriteTo.Async(sink => sink.Console(formatter), QueuedEvents, blockWhenFull: false);
        foreach (var (area, source) in Areas)
        {
            if (Level(configs, $"kbroker.log.level.{area}") is { } level)
            {
                configuration.MinimumLevel.Override(source, level);
            }
        }

        if (configs.GetString("kbroker.log.file") is { Length: > 0 } file)
        {
            configuration.WriteTo.Async(
                sink => sink.File(
                    formatter,
                    file,
                    rollingInterval: RollingInterval.Day,
                    rollOnFileSizeLimit: true,
                    fileSizeLimitBytes: configs.GetLong("kbroker.log.file.max.bytes"),
                    retainedFileCountLimit: configs.GetInt("kbroker.log.file.retained")),
                QueuedEvents,
                blockWhenFull: false);
        }

        return new BrokerLogging(configuration.CreateLogger());
    }

    /// <summary>Makes it the only log of the host.</summary>
    internal void AddTo(ILoggingBuilder builder)
    {
        builder.SetMinimumLevel(LogLevel.Trace);
        builder.AddProvider(new SerilogLoggerProvider(_logger));
    }

    internal void Warn(string sentence) => _logger.Warning("{Warning:l}", sentence);

    internal void Fatal(string sentence, Exception? reason = null) => _logger.Fatal(reason, "{Failure:l}", sentence);

    /// <summary>Writes what is queued.</summary>
    public void Dispose() => _logger.Dispose();

    private static LogEventLevel? Level(BrokerConfigValues configs, string name) =>
        configs.GetString(name) is { } level ? Enum.Parse<LogEventLevel>(level, ignoreCase: true) : null;
}
