using KBroker.Server.Dispatch;

namespace KBroker.Server.Security;

/// <summary>What a request wants to do to a resource; numbers are those of the ACL requests.</summary>
public enum AclOperation : sbyte
{
    /// <summary>Any operation, in filters.</summary>
    Any = 1,

    /// <summary>Every operation.</summary>
    All = 2,

    /// <summary>Fetch from a topic, join a group.</summary>
    Read = 3,

    /// <summary>Produce.</summary>
    Write = 4,

    /// <summary>Create a topic.</summary>
    Create = 5,

    /// <summary>Delete.</summary>
    Delete = 6,

    /// <summary>Change partitions and the like.</summary>
    Alter = 7,

    /// <summary>See that it exists.</summary>
    Describe = 8,

    /// <summary>What only brokers do.</summary>
    ClusterAction = 9,

    /// <summary>Read configs.</summary>
    DescribeConfigs = 10,

    /// <summary>Change configs.</summary>
    AlterConfigs = 11,

    /// <summary>Produce idempotently.</summary>
    IdempotentWrite = 12,
}

/// <summary>Kinds of resources; numbers are those of the ACL requests.</summary>
public enum AclResourceType : sbyte
{
    /// <summary>Any kind, in filters.</summary>
    Any = 1,

    /// <summary>A topic.</summary>
    Topic = 2,

    /// <summary>A consumer or share group.</summary>
    Group = 3,

    /// <summary>The cluster itself.</summary>
    Cluster = 4,

    /// <summary>A transactional id.</summary>
    TransactionalId = 5,

    /// <summary>A delegation token.</summary>
    DelegationToken = 6,
}

/// <summary>Decides whether a request may do what it asks. Every handler asks before it acts.</summary>
public interface IAuthorizer
{
    /// <summary>Decides one action.</summary>
    /// <param name="context">The request: principal, address, listener.</param>
    /// <param name="operation">What it wants to do.</param>
    /// <param name="resourceType">Kind of the resource.</param>
    /// <param name="resourceName">Its name; <c>kafka-cluster</c> for the cluster.</param>
    /// <returns>True when allowed.</returns>
    bool Authorize(
        RequestContext context, AclOperation operation, AclResourceType resourceType, string resourceName);
}

/// <summary>Allows everything: the behaviour of Kafka without an authorizer.</summary>
public sealed class AllowAllAuthorizer : IAuthorizer
{
    /// <inheritdoc/>
    public bool Authorize(
        RequestContext context, AclOperation operation, AclResourceType resourceType, string resourceName) => true;
}
