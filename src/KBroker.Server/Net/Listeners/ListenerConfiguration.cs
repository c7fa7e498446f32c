using System.Globalization;
using System.Net;
using System.Net.Sockets;
using KBroker.Server.Security;

namespace KBroker.Server.Net.Listeners;

/// <summary>
/// The checked listener configuration of one broker: where it listens, what it tells clients, and which listener
/// brokers use among themselves. The rules are Kafka's for a KRaft node; a rule broken is a
/// <see cref="ListenerConfigurationException"/>.
/// </summary>
/// <remarks>
/// Example: <c>listeners=PLAINTEXT://:9092,CONTROLLER://:9093</c> with <c>controller.listener.names=CONTROLLER</c>
/// gives two listeners and one advertised endpoint: clients are never sent to a controller listener.
/// </remarks>
public sealed class ListenerConfiguration
{
    private const string DefaultListeners = "PLAINTEXT://:9092";
    private const string DefaultMap = "PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL";

    private ListenerConfiguration(
        IReadOnlyList<ListenerEndpoint> listeners, IReadOnlyList<ListenerEndpoint> advertised, string interBroker)
    {
        Listeners = listeners;
        AdvertisedListeners = advertised;
        InterBrokerListenerName = interBroker;
    }

    /// <summary>Where the broker listens, controller listeners included, in the order of the property.</summary>
    public IReadOnlyList<ListenerEndpoint> Listeners { get; }

    /// <summary>
    /// What clients are told, controller listeners excluded. A port 0 or an empty host is filled in by
    /// <see cref="ResolveAdvertised"/> once the listeners are bound.
    /// </summary>
    public IReadOnlyList<ListenerEndpoint> AdvertisedListeners { get; }

    /// <summary>Name of the listener that brokers use among themselves.</summary>
    public string InterBrokerListenerName { get; }

    /// <summary>Checks the properties and fills in the defaults.</summary>
    /// <param name="settings">The raw properties.</param>
    /// <returns>The configuration.</returns>
    /// <exception cref="ListenerConfigurationException">A property breaks a rule.</exception>
    public static ListenerConfiguration Parse(ListenerSettings settings)
    {
        ArgumentNullException.ThrowIfNull(settings);
        var controllers = ControllerNames(settings.ControllerListenerNames);
        var map = ProtocolMap(settings.SecurityProtocolMap, controllers);
        var listeners = Endpoints(
            ListenerKeys.Listeners, settings.Listeners ?? DefaultListeners, map, controllers);
        CheckDistinct(settings.Listeners ?? DefaultListeners, listeners);
        CheckProtocols(settings.Listeners ?? DefaultListeners, listeners);
        if (listeners.All(l => l.IsController))
        {
            throw new ListenerConfigurationException(ListenerKeys.Listeners, settings.Listeners,
                "at least one listener that is not a controller listener is needed, so that clients can connect");
        }
        var advertised = Advertised(settings, map, controllers, listeners);
        return new ListenerConfiguration(listeners, advertised, InterBroker(settings, controllers, advertised));
    }

    /// <summary>The endpoints to publish once the listeners are bound.</summary>
    /// <param name="boundPort">From a listener's name to the port it is bound to.</param>
    /// <param name="localHostName">Gives this machine's name, for entries without a host.</param>
    /// <returns>The advertised endpoints, hosts and ports filled in.</returns>
    public IReadOnlyList<ListenerEndpoint> ResolveAdvertised(Func<string, int> boundPort, Func<string> localHostName)
    {
        ArgumentNullException.ThrowIfNull(boundPort);
        ArgumentNullException.ThrowIfNull(localHostName);
        return AdvertisedListeners.Select(e => e with
        {
            Host = e.Host.Length == 0 ? localHostName() : e.Host,
            Port = e.Port == 0 ? boundPort(e.ListenerName) : e.Port,
        }).ToArray();
    }

    private static HashSet<string> ControllerNames(string? value) =>
        Split(value).Select(n => n.ToUpperInvariant()).ToHashSet(StringComparer.Ordinal);

    private static Dictionary<string, SecurityProtocol> ProtocolMap(string? value, HashSet<string> controllers)
    {
        var map = new Dictionary<string, SecurityProtocol>(StringComparer.Ordinal);
        foreach (var entry in Split(value ?? DefaultMap))
        {
            var colon = entry.LastIndexOf(':');
            if (colon <= 0 || !SecurityProtocols.TryParse(entry[(colon + 1)..].Trim(), out var protocol))
            {
                throw new ListenerConfigurationException(ListenerKeys.SecurityProtocolMap, value,
                    $"entry '{entry}' is not NAME:PROTOCOL with one of {SecurityProtocols.AllNames}");
            }
            if (!map.TryAdd(entry[..colon].Trim().ToUpperInvariant(), protocol))
            {
                throw new ListenerConfigurationException(ListenerKeys.SecurityProtocolMap, value,
                    $"listener name '{entry[..colon].Trim()}' is mapped twice");
            }
        }
        // Kafka's convenience: without a map of one's own, a controller listener is plaintext.
        if (value is null)
        {
            foreach (var name in controllers)
                map.TryAdd(name, SecurityProtocol.Plaintext);
        }
        return map;
    }

    private static List<ListenerEndpoint> Endpoints(
        string key, string value, Dictionary<string, SecurityProtocol> map, HashSet<string> controllers)
    {
        var endpoints = new List<ListenerEndpoint>();
        foreach (var entry in Split(value))
        {
            var (name, host, port) = ParseEntry(key, value, entry);
            if (!map.TryGetValue(name, out var protocol))
            {
                throw new ListenerConfigurationException(key, value,
                    $"listener name '{name}' has no security protocol in {ListenerKeys.SecurityProtocolMap}, which "
                    + $"maps {string.Join(", ", map.Keys)}");
            }
            endpoints.Add(new ListenerEndpoint(name, protocol, host, port, controllers.Contains(name)));
        }
        if (endpoints.Count == 0)
            throw new ListenerConfigurationException(key, value, "at least one NAME://host:port is needed");
        var twice = endpoints.GroupBy(e => e.ListenerName).FirstOrDefault(g => g.Count() > 1);
        if (twice is not null)
        {
            throw new ListenerConfigurationException(key, value,
                $"each listener must have a different name, and '{twice.Key}' is used {twice.Count()} times");
        }
        return endpoints;
    }

    private static (string Name, string Host, int Port) ParseEntry(string key, string value, string entry)
    {
        var scheme = entry.IndexOf("://", StringComparison.Ordinal);
        var portColon = entry.LastIndexOf(':');
        if (scheme <= 0 || portColon < scheme + 3)
            throw Malformed();
        var host = entry[(scheme + 3)..portColon];
        var bracketed = host.StartsWith('[') && host.EndsWith(']');
        if (bracketed)
            host = host[1..^1];
        if (!host.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '%' or '.' or '_' or ':'))
            throw Malformed();
        if ((bracketed || host.Contains(':'))
            && !(IPAddress.TryParse(host, out var ip) && ip.AddressFamily == AddressFamily.InterNetworkV6))
        {
            throw new ListenerConfigurationException(key, value, $"'{host}' in '{entry}' is not an IPv6 address");
        }
        var portText = entry[(portColon + 1)..];
        if (!int.TryParse(portText, NumberStyles.None, CultureInfo.InvariantCulture, out var port) || port > 65535)
        {
            throw new ListenerConfigurationException(key, value,
                $"port '{portText}' in '{entry}' is not a number from 0 to 65535");
        }
        return (entry[..scheme].Trim().ToUpperInvariant(), host, port);

        ListenerConfigurationException Malformed() =>
            new(key, value, $"entry '{entry}' is not NAME://host:port (an empty host means all interfaces, an IPv6 "
                + "address stands in brackets)");
    }

    private static void CheckDistinct(string value, List<ListenerEndpoint> listeners)
    {
        foreach (var group in listeners.Where(l => l.Port != 0).GroupBy(l => l.Port).Where(g => g.Count() > 1))
        {
            // One port may serve two listeners only when one is bound to an IPv4 and the other to an IPv6 address.
            var families = group.Select(l => IPAddress.TryParse(l.Host, out var ip) ? ip.AddressFamily : default)
                .ToArray();
            var pair = families.Length == 2 && families.Contains(AddressFamily.InterNetwork)
                && families.Contains(AddressFamily.InterNetworkV6);
            if (!pair)
            {
                throw new ListenerConfigurationException(ListenerKeys.Listeners, value,
                    $"each listener must have a different port, and {group.Key} is used {group.Count()} times (only "
                    + "one IPv4 and one IPv6 address may share a port)");
            }
        }
    }

    private static void CheckProtocols(string value, List<ListenerEndpoint> listeners)
    {
        var secured = listeners.FirstOrDefault(l => l.SecurityProtocol != SecurityProtocol.Plaintext);
        if (secured is not null)
        {
            throw new ListenerConfigurationException(ListenerKeys.Listeners, value,
                $"listener '{secured.ListenerName}' uses {secured.SecurityProtocol.Name()}, which is not built yet; "
                + "this version supports PLAINTEXT only");
        }
    }

    private static List<ListenerEndpoint> Advertised(
        ListenerSettings settings, Dictionary<string, SecurityProtocol> map, HashSet<string> controllers,
        List<ListenerEndpoint> listeners)
    {
        var value = settings.AdvertisedListeners;
        var all = value is null ? listeners : Endpoints(ListenerKeys.AdvertisedListeners, value, map, controllers);
        var names = listeners.Select(l => l.ListenerName).ToArray();
        var foreign = all.FirstOrDefault(a => !names.Contains(a.ListenerName));
        if (foreign is not null)
        {
            throw new ListenerConfigurationException(ListenerKeys.AdvertisedListeners, value,
                $"'{foreign.ListenerName}' is not among the names in {ListenerKeys.Listeners}, which are "
                + string.Join(", ", names));
        }
        var wildcard = all.FirstOrDefault(a => a.Host == "0.0.0.0" && (value is not null || !a.IsController));
        if (wildcard is not null)
        {
            throw new ListenerConfigurationException(ListenerKeys.AdvertisedListeners, value ?? wildcard.ToString(),
                "clients cannot connect to 0.0.0.0, so it cannot be advertised; give an address or a host name that "
                + $"they can reach, or leave the host in {ListenerKeys.Listeners} empty to listen on all interfaces");
        }
        var forClients = all.Where(a => !a.IsController).ToList();
        if (forClients.Count == 0)
        {
            throw new ListenerConfigurationException(ListenerKeys.AdvertisedListeners, value,
                "at least one listener that is not a controller listener must be advertised");
        }
        return forClients;
    }

    private static string InterBroker(
        ListenerSettings settings, HashSet<string> controllers, List<ListenerEndpoint> advertised)
    {
        if (settings.InterBrokerListenerName is not null && settings.SecurityInterBrokerProtocol is not null)
        {
            throw new ListenerConfigurationException(ListenerKeys.InterBrokerListenerName,
                settings.InterBrokerListenerName,
                $"only one of it and {ListenerKeys.SecurityInterBrokerProtocol} may be set");
        }
        var key = settings.InterBrokerListenerName is null
            ? ListenerKeys.SecurityInterBrokerProtocol
            : ListenerKeys.InterBrokerListenerName;
        var value = settings.InterBrokerListenerName ?? settings.SecurityInterBrokerProtocol ?? "PLAINTEXT";
        if (settings.InterBrokerListenerName is null && !SecurityProtocols.TryParse(value, out _))
        {
            throw new ListenerConfigurationException(key, value, $"it is one of {SecurityProtocols.AllNames}");
        }
        var name = value.Trim().ToUpperInvariant();
        if (controllers.Contains(name))
        {
            throw new ListenerConfigurationException(key, value,
                $"it must not be one of {ListenerKeys.ControllerListenerNames}");
        }
        if (advertised.All(a => a.ListenerName != name))
        {
            throw new ListenerConfigurationException(key, value,
                $"it must name a listener of {ListenerKeys.AdvertisedListeners}, which are "
                + $"{string.Join(", ", advertised.Select(a => a.ListenerName))}; set "
                + $"{ListenerKeys.InterBrokerListenerName} to one of them");
        }
        return name;
    }

    private static string[] Split(string? value) =>
        (value ?? "").Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
}
