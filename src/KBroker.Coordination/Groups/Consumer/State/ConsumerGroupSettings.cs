using KBroker.Cluster.Configuration;

namespace KBroker.Coordination.Groups.Consumer.State;

/// <summary>
/// The configs of one consumer group: its own overrides, kept within the broker's bounds, over the broker's
/// <c>group.consumer.*</c>.
/// </summary>
/// <param name="SessionTimeoutMs"><c>consumer.session.timeout.ms</c>: silence after which a member is out.</param>
/// <param name="HeartbeatIntervalMs"><c>consumer.heartbeat.interval.ms</c>: what members are told.</param>
/// <param name="AssignmentIntervalMs"><c>consumer.assignment.interval.ms</c>: the least time between two target
/// assignments.</param>
/// <param name="MaxSize"><c>group.consumer.max.size</c>: members a group may have.</param>
/// <param name="RegexRefreshIntervalMs"><c>group.consumer.regex.refresh.interval.ms</c>.</param>
internal sealed record ConsumerGroupSettings(
    int SessionTimeoutMs, int HeartbeatIntervalMs, int AssignmentIntervalMs, int MaxSize, int RegexRefreshIntervalMs)
{
    /// <summary>Reads the settings in force.</summary>
    /// <param name="configs">The configs.</param>
    /// <param name="groupId">The group.</param>
    public static ConsumerGroupSettings Of(ConfigView configs, string groupId)
    {
        var broker = configs.Broker;
        var group = configs.OfGroup(groupId);
        return new ConsumerGroupSettings(
            Bounded("session.timeout.ms"),
            Bounded("heartbeat.interval.ms"),
            Bounded("assignment.interval.ms"),
            broker.GetInt("group.consumer.max.size"),
            broker.GetInt("group.consumer.regex.refresh.interval.ms"));

        // What was set on a group when the bounds were wider does not stretch them.
        int Bounded(string name)
        {
            var minimum = broker.GetInt($"group.consumer.min.{name}");
            var maximum = broker.GetInt($"group.consumer.max.{name}");
            return Math.Clamp(group.GetInt($"consumer.{name}"), minimum, Math.Max(minimum, maximum));
        }
    }
}
