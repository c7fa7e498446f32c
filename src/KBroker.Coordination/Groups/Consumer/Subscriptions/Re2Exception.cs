namespace KBroker.Coordination.Groups.Consumer.Subscriptions;

/// <summary>A regular expression that RE2 does not accept.</summary>
/// <param name="description">Why, in RE2's words.</param>
internal sealed class Re2Exception(string description) : Exception(description);
