using KBroker.Coordination.Groups;

namespace KBroker.Server.Dispatch;

/// <summary>The client behind a request, as group members show it.</summary>
internal static class GroupClients
{
    /// <summary>Takes id and address from a request; host names look as Java prints addresses.</summary>
    /// <param name="context">The request.</param>
    /// <returns>For example ("app-1", "/127.0.0.1").</returns>
    public static GroupClient Of(RequestContext context)
    {
        var address = context.ClientAddress;
        return new(context.ClientId ?? "", $"/{(address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address)}");
    }

    /// <summary>A request as the group coordinator takes it.</summary>
    /// <param name="context">Header and connection.</param>
    /// <param name="message">The decoded request.</param>
    public static GroupRequest<T> OfGroup<T>(this RequestContext context, T message) =>
        new(message, context.ApiVersion, Of(context));
}
