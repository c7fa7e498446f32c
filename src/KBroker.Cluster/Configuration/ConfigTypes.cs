namespace KBroker.Cluster.Configuration;

/// <summary>Type of a config's value; the numbers are those of DescribeConfigs (KIP-569).</summary>
public enum ConfigType : sbyte
{
    /// <summary>A config that the catalog does not know.</summary>
    Unknown = 0,

    /// <summary><c>true</c> or <c>false</c>, in any case.</summary>
    Boolean = 1,

    /// <summary>Text.</summary>
    String = 2,

    /// <summary>A 32-bit signed integer.</summary>
    Int = 3,

    /// <summary>A 16-bit signed integer.</summary>
    Short = 4,

    /// <summary>A 64-bit signed integer.</summary>
    Long = 5,

    /// <summary>A 64-bit floating point number.</summary>
    Double = 6,

    /// <summary>Texts separated by commas; blanks around the commas do not count.</summary>
    List = 7,

    /// <summary>The name of a Java class, which KBroker treats as text.</summary>
    Class = 8,

    /// <summary>Text that is never shown.</summary>
    Password = 9,
}

/// <summary>Where a value comes from; the numbers are those of DescribeConfigs (KIP-226).</summary>
public enum ConfigSource : sbyte
{
    /// <summary>Set on the topic.</summary>
    TopicConfig = 1,

    /// <summary>Set at run time on this broker.</summary>
    DynamicBrokerConfig = 2,

    /// <summary>Set at run time for every broker.</summary>
    DynamicDefaultBrokerConfig = 3,

    /// <summary>Read from server.properties or the command line.</summary>
    StaticBrokerConfig = 4,

    /// <summary>Nobody set it.</summary>
    DefaultConfig = 5,

    /// <summary>A log level set at run time.</summary>
    DynamicBrokerLogger = 6,

    /// <summary>Set on a client metrics subscription.</summary>
    ClientMetricsConfig = 7,

    /// <summary>Set on a group.</summary>
    GroupConfig = 8,
}

/// <summary>How much a config matters to most operators, as Kafka rates it.</summary>
public enum ConfigImportance
{
    /// <summary>Rarely touched.</summary>
    Low,

    /// <summary>Worth knowing.</summary>
    Medium,

    /// <summary>Looked at in every deployment.</summary>
    High,
}

/// <summary>What a config belongs to.</summary>
public enum ConfigScope
{
    /// <summary>A topic.</summary>
    Topic,

    /// <summary>A broker.</summary>
    Broker,

    /// <summary>A group: consumer, share or streams.</summary>
    Group,

    /// <summary>A client metrics subscription (KIP-714).</summary>
    ClientMetrics,
}

/// <summary>Whether, and where, a broker config can be changed at run time (KIP-226).</summary>
public enum ConfigUpdateMode
{
    /// <summary>Only server.properties sets it.</summary>
    ReadOnly,

    /// <summary>It can be set on one broker, not as a default of all.</summary>
    PerBroker,

    /// <summary>It can be set on one broker and as a default of all.</summary>
    ClusterWide,
}
