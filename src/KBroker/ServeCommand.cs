using System.CommandLine;
using KBroker.Cluster.Configuration;
using KBroker.Server.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace KBroker;

/// <summary><c>kbroker serve</c>: runs one broker until it is told to stop.</summary>
internal static class ServeCommand
{
    // A stop finishes what was accepted; this long, then it gives up.
    private static readonly TimeSpan StopTimeout = TimeSpan.FromSeconds(30);

    /// <summary>What the help says below the options.</summary>
    private const string Details = """
        Properties have Apache Kafka's names (server.properties). `kbroker configs` lists them all with their meaning;
        an unknown one is a warning, a value that is not allowed is an error. One combined node is what runs:
        process.roles=broker,controller, which is also the default. The ones most often set:

          listeners=PLAINTEXT://:9092                        where to listen; an empty host is every interface
          advertised.listeners=PLAINTEXT://host:9092         what clients are told to connect to
          log.dirs=data                                      where the data is; formatted when it is empty
          node.id=1                                          the number of this node
          num.partitions=1, auto.create.topics.enable=true   topics that clients ask for
          log.retention.hours=168, log.segment.bytes=...     defaults of topics
          kbroker.flush.acks.all=true                        acks=all waits for stable storage
          kbroker.log.level=Information                      also by area: kbroker.log.level.net=Debug
          kbroker.log.file=logs/kbroker-.log                 a rolling log file beside the console

        Without --config, and without log.dirs, the data is in ./data.

        Exit codes: 0 stopped as asked, 1 failed while running, 2 bad command line or property,
        3 cannot start (a port in use, a directory locked or of another node).
        """;

    internal static Command Create()
    {
        var config = new Option<FileInfo>("--config", "-c")
        {
            Description = "A file of properties, such as server.properties.",
            HelpName = "FILE",
        };
        var overrides = new Option<string[]>("--override", "-o")
        {
            Description = "A property that replaces the file's; may be given several times.",
            HelpName = "key=value",
            DefaultValueFactory = _ => [],
        };
        overrides.Validators.Add(result =>
        {
            foreach (var token in result.Tokens.Where(token => token.Value.IndexOf('=', StringComparison.Ordinal) <= 0))
            {
                result.AddError($"--override takes key=value, not '{token.Value}'.");
            }
        });
        var command = new DetailedCommand("serve", "Runs a broker until SIGTERM or SIGINT.", Details)
        {
            config,
            overrides,
        };
        command.SetAction((parsed, _) => RunAsync(parsed.GetValue(config), parsed.GetValue(overrides) ?? []));
        return command;
    }

    private static async Task<int> RunAsync(FileInfo? config, string[] overrides)
    {
        var warnings = new List<string>();
        BrokerOptions options;
        try
        {
            options = BrokerOptions.Create(ReadProperties(config, overrides, warnings.Add));
        }
        catch (Exception refused) when (refused is ConfigException or FormatException or IOException
            or UnauthorizedAccessException)
        {
            await Console.Error.WriteLineAsync($"kbroker: {refused.Message}").ConfigureAwait(false);
            return ExitCode.BadUsage;
        }

        var builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = StopTimeout);
#if KBROKER_CRASH_POINTS
        if (Crash.PowerCut.PowerCutFileSystem.FromEnvironment(new Storage.Files.PhysicalFileSystem()) is { } disk)
            builder.Services.AddSingleton<Storage.Files.IFileSystem>(disk);
#endif
        builder.Services.AddKBroker(options);
        using var logging = BrokerLogging.Create(options.Configs);
        logging.AddTo(builder.Logging);
        foreach (var warning in warnings)
        {
            logging.Warn(warning);
        }

        return await RunAsync(builder.Build(), logging).ConfigureAwait(false);
    }

    private static async Task<int> RunAsync(IHost host, BrokerLogging logging)
    {
        try
        {
            var broker = host.Services.GetRequiredService<Broker>();
            await host.RunAsync().ConfigureAwait(false);
            return broker.Failure.IsFaulted ? ExitCode.Failed : ExitCode.Done;
        }
        catch (BrokerStartException refused)
        {
            logging.Fatal($"Cannot start: {refused.Message}");
            return ExitCode.CannotStart;
        }
        catch (OperationCanceledException)
        {
            // Asked to stop before it was ready.
            return ExitCode.Done;
        }
        catch (Exception failure)
        {
            logging.Fatal("KBroker failed", failure);
            return ExitCode.Failed;
        }
    }

    private static Dictionary<string, string> ReadProperties(
        FileInfo? config, string[] overrides, Action<string> warn)
    {
        var properties = config is null
            ? new Dictionary<string, string>(StringComparer.Ordinal)
            : PropertiesFile.Read(config.FullName, warn);
        foreach (var pair in overrides)
        {
            var equals = pair.IndexOf('=', StringComparison.Ordinal);
            properties[pair[..equals].Trim()] = pair[(equals + 1)..];
        }

        if (!properties.ContainsKey("log.dirs") && !properties.ContainsKey("log.dir"))
        {
            properties["log.dirs"] = "data";
        }

        return properties;
    }
}
