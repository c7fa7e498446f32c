namespace KBroker.Server.Security;

/// <summary>
/// The sets of operations a client may do, as the answers that tell them carry them: bit n stands for Kafka's ACL
/// operation n (KIP-430). Everybody may do everything until ACLs arrive.
/// </summary>
internal static class AuthorizedOperations
{
    /// <summary>Answered when the client did not ask.</summary>
    public const int Omitted = int.MinValue;

    /// <summary>READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS.</summary>
    public const int Topic = 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11;

    /// <summary>READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS.</summary>
    public const int Group = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

    /// <summary>CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE.</summary>
    public const int Cluster = 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;
}
