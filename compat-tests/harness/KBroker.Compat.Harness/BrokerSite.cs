using System.Net;
using System.Net.Sockets;

namespace KBroker.Compat.Harness;

/// <summary>
/// A place where brokers run one after the other on the same files, with the same ports and settings.
/// </summary>
/// <param name="Directory">Holds server.properties; log directories with relative names lie below it.</param>
/// <param name="Port">The port of the client listener on 127.0.0.1.</param>
/// <param name="ControllerPort">The port of Kafka's controller listener.</param>
public sealed record BrokerSite(string Directory, int Port, int ControllerPort)
{
    /// <summary>The lines of server.properties.</summary>
    public required IReadOnlyList<string> Settings { get; init; }

    /// <summary>What <c>kafka-storage.sh format</c> is given beside cluster id and properties.</summary>
    public IReadOnlyList<string> FormatArguments { get; init; } = [];

    /// <summary>The absolute log directories, as <c>log.dirs</c> names them.</summary>
    public IReadOnlyList<string> LogDirs =>
    [
        .. Settings.Last(s => s.StartsWith("log.dirs=", StringComparison.Ordinal))["log.dirs=".Length..].Split(',')
            .Select(d => Path.GetFullPath(d, Directory)),
    ];

    /// <summary>Whether any broker, or kafka-storage, has formatted a log directory here.</summary>
    public bool IsFormatted => LogDirs.Any(d => File.Exists(Path.Combine(d, "meta.properties")));

    internal string PropertiesFile => Path.Combine(Directory, "server.properties");

    /// <summary>
    /// One node with a plaintext listener on a free port, its data in <c>data/</c>, as the suites want it.
    /// </summary>
    /// <param name="directory">An existing directory.</param>
    /// <param name="overrides">Broker settings beside those, as <c>key=value</c>.</param>
    public static BrokerSite Plain(string directory, params string[] overrides)
    {
        var (port, controllerPort) = FreePorts();
        return new BrokerSite(directory, port, controllerPort)
        {
            Settings = [.. PlainSettings(directory, port, controllerPort), .. overrides],
        };
    }

    /// <summary>Two ports that are free now.</summary>
    public static (int Client, int Controller) FreePorts()
    {
        using var first = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        using var second = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        return (BindFree(first), BindFree(second));
    }

    /// <summary>
    /// Below the ports that the system gives to outgoing connections: such a one could be gone again before a broker
    /// that starts slowly binds it.
    /// </summary>
    private static int BindFree(Socket socket)
    {
        while (true)
        {
            var port = Random.Shared.Next(10_000, 20_000);
            try
            {
                socket.Bind(new IPEndPoint(IPAddress.Loopback, port));
                return port;
            }
            catch (SocketException e) when (e.SocketErrorCode == SocketError.AddressAlreadyInUse)
            {
                // Try another.
            }
        }
    }

    private static IEnumerable<string> PlainSettings(string directory, int port, int controllerPort) =>
    [
        "process.roles=broker,controller",
        "node.id=1",
        $"controller.quorum.voters=1@127.0.0.1:{controllerPort}",
        $"listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controllerPort}",
        $"advertised.listeners=PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names=CONTROLLER",
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        $"log.dirs={Path.Combine(directory, "data")}",
        "offsets.topic.replication.factor=1",
        "transaction.state.log.replication.factor=1",
        "transaction.state.log.min.isr=1",
        "group.initial.rebalance.delay.ms=0",
    ];
}
