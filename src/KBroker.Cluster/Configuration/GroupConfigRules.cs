namespace KBroker.Cluster.Configuration;

/// <summary>Checks what is about to be set on a group, against the bounds that the broker's configs set.</summary>
public static class GroupConfigRules
{
    private static readonly string[] Bounded =
    [
        "consumer.session.timeout.ms",
        "consumer.heartbeat.interval.ms",
        "consumer.assignment.interval.ms",
        "share.session.timeout.ms",
        "share.heartbeat.interval.ms",
        "share.assignment.interval.ms",
        "share.record.lock.duration.ms",
        "share.delivery.count.limit",
        "share.partition.max.record.locks",
        "streams.session.timeout.ms",
        "streams.heartbeat.interval.ms",
        "streams.assignment.interval.ms",
        "streams.num.standby.replicas",
    ];

    /// <summary>Checks a group's overrides, all of those that will be in force together.</summary>
    /// <param name="broker">The configs of the broker, with the bounds.</param>
    /// <param name="overrides">Name and value of each override; a null value is refused.</param>
    /// <exception cref="ConfigException">To be answered as INVALID_CONFIG.</exception>
    public static void Validate(BrokerConfigValues broker, IEnumerable<KeyValuePair<string, string?>> overrides)
    {
        var values = ConfigNames.Check(broker.Catalog, ConfigScope.Group, "group", overrides);
        var group = new GroupConfigValues(broker, values);
        foreach (var name in values.Keys)
        {
            group.GetValue(name);
        }

        foreach (var name in Bounded.Where(values.ContainsKey))
        {
            CheckBounds(broker, group, name);
        }

        foreach (var protocol in (string[])["consumer", "share", "streams"])
        {
            var session = group.GetInt($"{protocol}.session.timeout.ms");
            var heartbeat = group.GetInt($"{protocol}.heartbeat.interval.ms");
            if (session <= heartbeat)
            {
                throw new ConfigException(
                    $"{protocol}.session.timeout.ms must be greater than {protocol}.heartbeat.interval.ms");
            }
        }
    }

    /// <summary>
    /// The bounds of <c>consumer.x</c> are <c>group.consumer.min.x</c> and <c>group.consumer.max.x</c>.
    /// </summary>
    private static void CheckBounds(BrokerConfigValues broker, GroupConfigValues group, string name)
    {
        var dot = name.IndexOf('.', StringComparison.Ordinal);
        var value = group.GetInt(name);
        var minimum = $"group.{name[..dot]}.min{name[dot..]}";
        var maximum = $"group.{name[..dot]}.max{name[dot..]}";

        // A few maxima carry the word twice, or say it in the place where the group's own config does not.
        if (name == "share.partition.max.record.locks")
        {
            minimum = "group.share.min.partition.max.record.locks";
            maximum = "group.share.max.partition.max.record.locks";
        }
        else if (name == "streams.num.standby.replicas")
        {
            maximum = "group.streams.max.standby.replicas";
        }

        if (broker.Catalog.TryGet(ConfigScope.Broker, minimum, out _) && value < broker.GetInt(minimum))
        {
            throw new ConfigException($"{name} must be greater than or equal to {minimum}");
        }

        if (value > broker.GetInt(maximum))
        {
            throw new ConfigException($"{name} must be less than or equal to {maximum}");
        }
    }
}
