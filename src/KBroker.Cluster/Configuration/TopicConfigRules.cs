namespace KBroker.Cluster.Configuration;

/// <summary>
/// Checks what is about to be set on a topic, as a whole: names, values, and values against each other.
/// </summary>
public static class TopicConfigRules
{
    /// <summary>Checks a topic's overrides, all of those that will be in force together.</summary>
    /// <param name="broker">The configs behind the topic.</param>
    /// <param name="overrides">Name and value of each override; a null value is refused.</param>
    /// <exception cref="ConfigException">To be answered as INVALID_CONFIG.</exception>
    public static void Validate(BrokerConfigValues broker, IEnumerable<KeyValuePair<string, string?>> overrides)
    {
        var values = ConfigNames.Check(broker.Catalog, ConfigScope.Topic, "topic", overrides);
        var topic = new TopicConfigValues(broker, values);
        foreach (var name in values.Keys)
        {
            topic.GetValue(name);
        }

        CheckCompactionLag(topic);
        CheckTieredStorage(topic);
        foreach (var name in (string[])["kbroker.delay.enable", "kbroker.txn.enable"])
        {
            if (values.ContainsKey(name))
                CheckHiding(topic, name);
        }
    }

    /// <summary>Compaction drops records by their key, and so would drop what waits for delivery.</summary>
    private static void CheckHiding(TopicConfigValues topic, string name)
    {
        if (topic.GetBoolean(name) && topic.GetList("cleanup.policy").Contains("compact"))
        {
            var what = name == "kbroker.delay.enable" ? "delayed records" : "half messages";
            throw new ConfigException(
                $"{name}=true is not possible with cleanup.policy="
                + string.Join(',', topic.GetList("cleanup.policy"))
                + $": compaction would drop {what}. Use cleanup.policy=delete, or another topic.");
        }
    }

    private static void CheckCompactionLag(TopicConfigValues topic)
    {
        var least = topic.GetLong("min.compaction.lag.ms");
        var most = topic.GetLong("max.compaction.lag.ms");
        if (least > most)
        {
            throw new ConfigException(
                $"conflict topic config setting min.compaction.lag.ms ({least}) > max.compaction.lag.ms ({most})");
        }
    }

    /// <summary>
    /// There is no tiered storage here, so Kafka's checks for a broker without it are all that apply.
    /// </summary>
    private static void CheckTieredStorage(TopicConfigValues topic)
    {
        if (topic.GetBoolean("remote.storage.enable"))
        {
            throw new ConfigException(
                "Tiered Storage functionality is disabled in the broker. "
                + "Topic cannot be configured with remote log storage.");
        }
    }
}
