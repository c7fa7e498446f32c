using KBroker.Coordination.Groups;

namespace KBroker.Server.Dispatch;

/// <summary>The client behind a request, as group members show it.</summary>
internal static class GroupClients
{
    /// <summary>Takes id and address from a request; host names look as Java prints addresses.</summary>
    /// <param name="context">The request.</param>
    /// <returns>For example ("app-1", "/127.0.0.1").</returns>
    public static GroupClient Of(RequestContext context) => new(context.ClientId ?? "", $"/{context.ClientAddress}");
}
