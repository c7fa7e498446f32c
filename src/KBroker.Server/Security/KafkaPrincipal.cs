namespace KBroker.Server.Security;

/// <summary>Who a connection speaks for, written <c>Type:Name</c> as in Kafka's ACLs.</summary>
/// <param name="Type">Kind of principal, <c>User</c> for people and services.</param>
/// <param name="Name">The name within that kind.</param>
public sealed record KafkaPrincipal(string Type, string Name)
{
    /// <summary>The principal of a connection that did not authenticate.</summary>
    public static KafkaPrincipal Anonymous { get; } = new("User", "ANONYMOUS");

    /// <summary>The principal as ACLs write it.</summary>
    /// <returns>For example <c>User:ANONYMOUS</c>.</returns>
    public override string ToString() => $"{Type}:{Name}";
}
