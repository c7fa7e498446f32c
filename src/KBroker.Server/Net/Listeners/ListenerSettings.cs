namespace KBroker.Server.Net.Listeners;

/// <summary>
/// The raw listener properties as <c>server.properties</c> gives them; null where a property is not set.
/// </summary>
public sealed record ListenerSettings
{
    /// <summary>Property <c>listeners</c>; default <c>PLAINTEXT://:9092</c>.</summary>
    public string? Listeners { get; init; }

    /// <summary>Property <c>advertised.listeners</c>; default: what <c>listeners</c> says.</summary>
    public string? AdvertisedListeners { get; init; }

    /// <summary>Property <c>listener.security.protocol.map</c>; default: each protocol's own name.</summary>
    public string? SecurityProtocolMap { get; init; }

    /// <summary>Property <c>inter.broker.listener.name</c>.</summary>
    public string? InterBrokerListenerName { get; init; }

    /// <summary>Property <c>security.inter.broker.protocol</c>; default <c>PLAINTEXT</c>.</summary>
    public string? SecurityInterBrokerProtocol { get; init; }

    /// <summary>Property <c>controller.listener.names</c>.</summary>
    public string? ControllerListenerNames { get; init; }

    /// <summary>Reads the properties from a lookup that answers null for what is not set.</summary>
    /// <param name="property">From property name to value.</param>
    /// <returns>The settings.</returns>
    public static ListenerSettings From(Func<string, string?> property)
    {
        ArgumentNullException.ThrowIfNull(property);
        return new ListenerSettings
        {
            Listeners = property(ListenerKeys.Listeners),
            AdvertisedListeners = property(ListenerKeys.AdvertisedListeners),
            SecurityProtocolMap = property(ListenerKeys.SecurityProtocolMap),
            InterBrokerListenerName = property(ListenerKeys.InterBrokerListenerName),
            SecurityInterBrokerProtocol = property(ListenerKeys.SecurityInterBrokerProtocol),
            ControllerListenerNames = property(ListenerKeys.ControllerListenerNames),
        };
    }
}

/// <summary>Names of the listener properties.</summary>
internal static class ListenerKeys
{
    public const string Listeners = "listeners";
    public const string AdvertisedListeners = "advertised.listeners";
    public const string SecurityProtocolMap = "listener.security.protocol.map";
    public const string InterBrokerListenerName = "inter.broker.listener.name";
    public const string SecurityInterBrokerProtocol = "security.inter.broker.protocol";
    public const string ControllerListenerNames = "controller.listener.names";
}
