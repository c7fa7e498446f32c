using System.Net;
using KBroker.Coordination.Groups;

namespace KBroker.Server.Dispatch;

/// <summary>Requests to groups, with the client behind them.</summary>
internal static class GroupRequests
{
    /// <summary>The request as the group coordinator takes it.</summary>
    /// <param name="context">Header and connection.</param>
    /// <param name="message">The decoded request.</param>
    public static GroupRequest<T> OfGroup<T>(this RequestContext context, T message) =>
        new(message, context.ApiVersion, new GroupClient(context.ClientId ?? "", HostOf(context.ClientAddress)));

    /// <summary>The address as Kafka shows it in descriptions of groups, such as <c>/127.0.0.1</c>.</summary>
    private static string HostOf(IPAddress address) =>
        $"/{(address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address)}";
}
