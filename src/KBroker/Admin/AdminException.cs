namespace KBroker.Admin;

/// <summary>A command cannot be done; the message is for the operator.</summary>
internal sealed class AdminException(string message) : Exception(message);
