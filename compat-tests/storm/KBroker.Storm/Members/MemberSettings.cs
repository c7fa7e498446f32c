using System.Globalization;
using Confluent.Kafka;

namespace KBroker.Storm.Members;

/// <summary>How a member joins its group.</summary>
internal sealed record MemberSettings
{
    /// <summary>The member's name in the history, and its client id; used once.</summary>
    public required string Name { get; init; }

    /// <summary>The broker, as host:port.</summary>
    public required string Bootstrap { get; init; }

    /// <summary>The group's id.</summary>
    public required string Group { get; init; }

    /// <summary>The topic, or with ^ in front a pattern.</summary>
    public required string Topic { get; init; }

    /// <summary>The group protocol.</summary>
    public GroupProtocol Protocol { get; init; } = GroupProtocol.Classic;

    /// <summary>The assignor; of the classic protocol only.</summary>
    public PartitionAssignmentStrategy Strategy { get; init; } = PartitionAssignmentStrategy.CooperativeSticky;

    /// <summary>
    /// The assignor that the coordinator shall use; of the consumer protocol only; its default when null.
    /// </summary>
    public string? RemoteAssignor { get; init; }

    /// <summary>The instance id of a static member; null for a dynamic one.</summary>
    public string? Instance { get; init; }

    /// <summary>After how much silence the coordinator takes it for dead; of the classic protocol only.</summary>
    public int SessionTimeoutMs { get; init; } = 10_000;

    /// <summary>A commit after so many records, and whenever nothing comes.</summary>
    public int RecordsPerCommit { get; init; } = 200;

    /// <summary>The client's configuration.</summary>
    public ConsumerConfig Config()
    {
        var config = new ConsumerConfig
        {
            BootstrapServers = Bootstrap,
            ClientId = Name,
            GroupId = Group,
            GroupInstanceId = Instance,
            GroupProtocol = Protocol,
            EnableAutoCommit = false,
            EnableAutoOffsetStore = false,
            AutoOffsetReset = AutoOffsetReset.Earliest,
            FetchWaitMaxMs = 200,
            ReconnectBackoffMaxMs = 1000,
            TopicMetadataRefreshIntervalMs = 2000,
            QueuedMaxMessagesKbytes = 1024,
        };
        if (Protocol is GroupProtocol.Classic)
        {
            config.PartitionAssignmentStrategy = Strategy;
            config.SessionTimeoutMs = SessionTimeoutMs;
            config.HeartbeatIntervalMs = SessionTimeoutMs / 10;
        }
        else if (RemoteAssignor is not null)
        {
            config.GroupRemoteAssignor = RemoteAssignor;
        }

        return config;
    }

    /// <summary>The settings as one line for a worker process.</summary>
    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture,
        $"{Name} {Bootstrap} {Group} {Topic} {Protocol} {Strategy} {RemoteAssignor ?? "-"} {Instance ?? "-"} {SessionTimeoutMs} {RecordsPerCommit}");

    /// <summary>The settings of a line.</summary>
    public static MemberSettings Parse(string line)
    {
        var words = line.Split(' ');
        return new MemberSettings
        {
            Name = words[0],
            Bootstrap = words[1],
            Group = words[2],
            Topic = words[3],
            Protocol = Enum.Parse<GroupProtocol>(words[4]),
            Strategy = Enum.Parse<PartitionAssignmentStrategy>(words[5]),
            RemoteAssignor = words[6] == "-" ? null : words[6],
            Instance = words[7] == "-" ? null : words[7],
            SessionTimeoutMs = int.Parse(words[8], CultureInfo.InvariantCulture),
            RecordsPerCommit = int.Parse(words[9], CultureInfo.InvariantCulture),
        };
    }
}
