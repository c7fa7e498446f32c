using System.Globalization;

namespace KBroker.Cluster.Configuration;

/// <summary>
/// Checks a broker's configs: each value, values against each other, and changes at run time. Only rules on things
/// that KBroker acts upon, or that Kafka's tools and tests look at, are here; the listeners are checked where they are
/// parsed, in the server.
/// </summary>
public static class BrokerConfigRules
{
    /// <summary>
    /// Checks every value that is set in server.properties or on the command line, and all of them together.
    /// </summary>
    /// <exception cref="ConfigException">Names the key, the value and what is allowed.</exception>
    public static void Validate(BrokerConfigValues broker)
    {
        foreach (var (name, value) in broker.StaticValues)
        {
            if (broker.Catalog.TryGetBroker(name, out var definition))
            {
                ParseSet(definition, name, value);
            }
        }

        ValidateTogether(broker);
        if (broker.GetBoolean("remote.log.storage.system.enable"))
        {
            throw new ConfigException(
                "remote.log.storage.system.enable", "true", "KBroker has no tiered storage; it must be false");
        }
    }

    /// <summary>
    /// Checks what is about to be in force at run time for one broker, or as a default for all, after a change.
    /// </summary>
    /// <param name="broker">The broker's configs before the change.</param>
    /// <param name="isDefault">Whether the change is to the defaults of all brokers.</param>
    /// <param name="values">Everything that will be set at run time on that resource.</param>
    /// <exception cref="ConfigException">To be answered as INVALID_REQUEST.</exception>
    public static void ValidateUpdate(
        BrokerConfigValues broker, bool isDefault, IReadOnlyDictionary<string, string> values)
    {
        try
        {
            CheckUpdatable(broker.Catalog, isDefault, values);
            foreach (var (name, value) in values)
            {
                if (broker.Catalog.TryGetBroker(name, out var definition))
                {
                    ParseSet(definition, name, value);
                }
            }

            var changed = isDefault
                ? broker.WithDynamic(values, broker.DynamicBroker)
                : broker.WithDynamic(broker.DynamicDefault, values);
            ValidateTogether(changed);
            if (CleanerConfigs.CheckChange(broker, changed) is { } problem)
                throw new ConfigException(problem);
        }
        catch (ConfigException refused) when (!refused.IsInvalidRequest)
        {
            throw new ConfigException(refused.Message) { IsInvalidRequest = true };
        }
    }

    private static void CheckUpdatable(
        ConfigCatalog catalog, bool isDefault, IReadOnlyDictionary<string, string> values)
    {
        var fixedOnes = new List<string>();
        var needListener = new List<string>();
        var needBroker = new List<string>();
        foreach (var name in values.Keys.Order(StringComparer.Ordinal))
        {
            if (!catalog.TryGetBroker(name, out var definition))
            {
                continue;
            }

            var isPlain = name == definition.Name;
            if (isPlain && definition.UpdateMode == ConfigUpdateMode.ReadOnly)
            {
                fixedOnes.Add(name);
            }
            else if (isPlain && name.StartsWith("ssl.", StringComparison.Ordinal) && name != "ssl.client.auth")
            {
                needListener.Add(name);
            }
            else if (isDefault && (definition.UpdateMode == ConfigUpdateMode.PerBroker))
            {
                needBroker.Add(name);
            }
        }

        Refuse("Cannot update these configs dynamically", fixedOnes);
        Refuse(
            "These security configs can be dynamically updated only per-listener using the listener prefix",
            needListener);
        Refuse("Cannot update these configs at default cluster level, broker id must be specified", needBroker);
    }

    private static void Refuse(string why, List<string> names)
    {
        if (names.Count > 0)
        {
            throw new ConfigException($"{why}: [{string.Join(", ", names)}]") { IsInvalidRequest = true };
        }
    }

    /// <summary>Parses a value that somebody set, without ever putting a password into the error.</summary>
    private static void ParseSet(ConfigDefinition definition, string name, string value)
    {
        try
        {
            definition.Parse(value);
        }
        catch (ConfigException) when (definition.IsSensitive)
        {
            throw new ConfigException(name, "[hidden]", definition.Allowed);
        }
    }

    private static void ValidateTogether(BrokerConfigValues broker)
    {
        var retentionMs = broker.GetOptionalLong("log.retention.ms");
        Require(retentionMs != 0, "log.retention.ms must be unlimited (-1) or, greater than or equal to 1");
        var rollMs = broker.GetOptionalLong("log.roll.ms");
        Require(rollMs is null or >= 1, "log.roll.ms must be greater than or equal to 1");
        var jitterMs = broker.GetOptionalLong("log.roll.jitter.ms");
        Require(jitterMs is null or >= 0, "log.roll.jitter.ms must be greater than or equal to 0");

        var queuedBytes = broker.GetLong("queued.max.request.bytes");
        Require(
            queuedBytes <= 0 || queuedBytes >= broker.GetInt("socket.request.max.bytes"),
            "queued.max.request.bytes must be larger or equal to socket.request.max.bytes");
        var waitMs = broker.GetInt("replica.fetch.wait.max.ms");
        Require(
            broker.GetInt("replica.socket.timeout.ms") >= waitMs,
            "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms "
            + "to prevent unnecessary socket timeouts");
        Require(
            waitMs <= broker.GetLong("replica.lag.time.max.ms"),
            "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms "
            + "to prevent frequent changes in ISR");

        var perAddress = ParseAddressLimits(broker.GetString("max.connections.per.ip.overrides") ?? "");
        Require(
            broker.GetInt("max.connections.per.ip") > 0 || perAddress.Count > 0,
            "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.");
        CheckCodec(broker, "offsets.topic.compression.codec");
        CheckCodec(broker, "share.coordinator.state.topic.compression.codec");
        CheckGroups(broker);
        CheckDirectories(broker);
        Require(
            CleanerConfigs.HaveRoomForMaps(broker),
            "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.");
    }

    /// <summary>
    /// Reads <c>max.connections.per.ip.overrides</c>: host:count pairs; an IPv6 address has colons itself.
    /// </summary>
    /// <exception cref="ConfigException">A pair has no count, or one that is not a number.</exception>
    public static IReadOnlyDictionary<string, int> ParseAddressLimits(string text)
    {
        const string key = "max.connections.per.ip.overrides";
        var limits = new Dictionary<string, int>(StringComparer.OrdinalIgnoreCase);
        foreach (var pair in ConfigText.ParseList(text))
        {
            var colon = pair.LastIndexOf(':');
            if (colon <= 0 || !int.TryParse(
                pair.AsSpan(colon + 1).Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var count))
            {
                throw new ConfigException(key, pair, "each entry must be host:count with a count of at least 0");
            }

            limits[pair[..colon].Trim().TrimStart('[').TrimEnd(']')] = count;
        }

        return limits;
    }

    private static void CheckCodec(BrokerConfigValues broker, string name)
    {
        var codec = broker.GetInt(name);
        if (codec is < 0 or > 4)
        {
            throw new ConfigException(
                name, codec.ToString(CultureInfo.InvariantCulture), $"Unknown compression type id: {codec}");
        }
    }

    private static void CheckGroups(BrokerConfigValues broker)
    {
        foreach (var protocol in (string[])["consumer", "share", "streams"])
        {
            CheckBetween(broker, protocol, "session.timeout.ms");
            CheckBetween(broker, protocol, "heartbeat.interval.ms");
            CheckBetween(broker, protocol, "assignment.interval.ms");
            Demand(
                broker.GetInt($"group.{protocol}.heartbeat.interval.ms")
                    < broker.GetInt($"group.{protocol}.session.timeout.ms"),
                $"group.{protocol}.heartbeat.interval.ms must be less than group.{protocol}.session.timeout.ms");
        }

        CheckBetween(broker, "share", "record.lock.duration.ms");
        CheckBetween(broker, "share", "delivery.count.limit");
        CheckBetween(broker, "share", "partition.max.record.locks");
    }

    private static void CheckBetween(BrokerConfigValues broker, string protocol, string name)
    {
        var minimum = $"group.{protocol}.min.{name}";
        var maximum = $"group.{protocol}.max.{name}";
        var value = $"group.{protocol}.{name}";
        Demand(
            broker.GetInt(maximum) >= broker.GetInt(minimum), $"{maximum} must be greater than or equal to {minimum}");
        Demand(broker.GetInt(value) >= broker.GetInt(minimum), $"{value} must be greater than or equal to {minimum}");
        Demand(broker.GetInt(value) <= broker.GetInt(maximum), $"{value} must be less than or equal to {maximum}");
    }

    private static void CheckDirectories(BrokerConfigValues broker)
    {
        var directories = broker.GetList("log.dirs");
        if (directories.Count == 0)
        {
            directories = broker.GetList("log.dir");
        }

        var missing = broker.GetList("cordoned.log.dirs").Except(directories).ToList();
        Require(
            missing is [] or ["*"],
            "All entries in cordoned.log.dirs must be present in log.dirs or log.dir. "
            + $"Missing entries : {string.Join(", ", missing)}");
    }

    private static void Require(bool condition, string rule) => Demand(condition, "requirement failed: " + rule);

    /// <summary>The messages, with or without their prefix, are Kafka's own, which its tools and tests match.</summary>
    private static void Demand(bool condition, string rule)
    {
        if (!condition)
        {
            throw new ConfigException(rule);
        }
    }
}
