using KBroker.Server.Security;

namespace KBroker.Server.Net.Listeners;

/// <summary>One entry of <c>listeners</c> or <c>advertised.listeners</c>: <c>NAME://host:port</c>.</summary>
/// <param name="ListenerName">The listener's name, upper case.</param>
/// <param name="SecurityProtocol">What <c>listener.security.protocol.map</c> says about the name.</param>
/// <param name="Host">A host name or address without brackets; empty means all interfaces.</param>
/// <param name="Port">0 to 65535; 0 lets the system choose one when the listener is bound.</param>
/// <param name="IsController">Whether <c>controller.listener.names</c> lists the name.</param>
public sealed record ListenerEndpoint(
    string ListenerName, SecurityProtocol SecurityProtocol, string Host, int Port, bool IsController)
{
    /// <summary>The entry as a configuration writes it, with brackets around an IPv6 address.</summary>
    /// <returns>For example <c>PLAINTEXT://[::1]:9092</c>.</returns>
    public override string ToString() =>
        Host.Contains(':') ? $"{ListenerName}://[{Host}]:{Port}" : $"{ListenerName}://{Host}:{Port}";
}
