using System.Buffers;

namespace KBroker.Cluster.Metadata;

/// <summary>Kafka's rules for topic names.</summary>
public static class TopicNames
{
    /// <summary>The longest name, in characters: it is part of a directory's name.</summary>
    public const int MaxLength = 249;

    /// <summary>The topic of consumer groups and their offsets.</summary>
    public const string ConsumerOffsets = "__consumer_offsets";

    /// <summary>The topic of transactions.</summary>
    public const string TransactionState = "__transaction_state";

    /// <summary>The topic of share groups.</summary>
    public const string ShareGroupState = "__share_group_state";

    /// <summary>The name of the metadata log, which is no topic that clients may name.</summary>
    public const string ClusterMetadata = "__cluster_metadata";

    private static readonly SearchValues<char> Allowed =
        SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

    /// <summary>Whether the topic belongs to the broker's own coordinators.</summary>
    /// <param name="name">A topic name.</param>
    public static bool IsInternal(string name) => name is ConsumerOffsets or TransactionState or ShareGroupState;

    /// <summary>Checks a name.</summary>
    /// <param name="name">The name.</param>
    /// <returns>What is wrong with it, as a clause; null when nothing is.</returns>
    public static string? Check(string? name)
    {
        if (string.IsNullOrEmpty(name))
            return "the empty string is not allowed";
        if (name is "." or "..")
            return $"'{name}' is not allowed";
        if (name.Length > MaxLength)
            return $"the length of '{name}' is longer than the max allowed length {MaxLength}";
        return name.AsSpan().ContainsAnyExcept(Allowed)
            ? $"'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
            : null;
    }

    /// <summary>
    /// The form in which names that differ only in '.' and '_' are equal: metrics cannot tell such topics apart, so
    /// Kafka refuses to have both.
    /// </summary>
    /// <param name="name">A topic name.</param>
    /// <returns>The name with '_' for each '.'.</returns>
    public static string CollisionKey(string name) => name.Replace('.', '_');
}
