using System.Collections.Immutable;
using System.Globalization;
using KBroker.Cluster.Configuration;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Cluster.Metadata.Control;

/// <summary>AlterConfigs and IncrementalAlterConfigs.</summary>
internal static class ConfigChanges
{
    private const string MinInsyncReplicas = "min.insync.replicas";
    private const string DuplicateResource = "Each resource must appear at most once.";
    private const string DuplicateKeys = "Error due to duplicate config keys";

    /// <summary>What an incremental change does with one config; the numbers are on the wire.</summary>
    private enum Operation : sbyte
    {
        Set = 0,
        Delete = 1,
        Append = 2,
        Subtract = 3,
    }

    public static Change<IncrementalAlterConfigsResponse> AlterIncrementally(
        ControlState state, IncrementalAlterConfigsRequest request)
    {
        var response = new IncrementalAlterConfigsResponse();
        var records = new List<MetadataRecord>();
        var seen = request.Resources.CountBy(r => (r.ResourceType, r.ResourceName)).ToDictionary();
        foreach (var asked in request.Resources)
        {
            var (error, message) = Guard(() =>
            {
                var names = asked.Configs.Select(c => c.Name);
                CheckOnce(seen[(asked.ResourceType, asked.ResourceName)], names);
                var nulls = asked.Configs.Where(c =>
                    c.Value is null && (Operation)c.ConfigOperation != Operation.Delete);
                CheckNulls(nulls.Select(c => c.Name));
                var resource = CheckResource(state, asked.ResourceType, asked.ResourceName, names);
                var values = state.Image.Configs.Of(resource);
                foreach (var config in asked.Configs)
                    values = Apply(state, resource, values, config);
                records.AddRange(Replace(state, resource, values));
            });
            response.Responses.Add(new()
            {
                ErrorCode = error,
                ErrorMessage = message,
                ResourceType = asked.ResourceType,
                ResourceName = asked.ResourceName,
            });
        }

        return new(response, request.ValidateOnly ? [] : records);
    }

    public static Change<AlterConfigsResponse> AlterWhole(ControlState state, AlterConfigsRequest request)
    {
        var response = new AlterConfigsResponse();
        var records = new List<MetadataRecord>();
        var seen = request.Resources.CountBy(r => (r.ResourceType, r.ResourceName)).ToDictionary();
        foreach (var asked in request.Resources)
        {
            var (error, message) = Guard(() =>
            {
                var names = asked.Configs.Select(c => c.Name);
                CheckOnce(seen[(asked.ResourceType, asked.ResourceName)], names);
                CheckNulls(asked.Configs.Where(c => c.Value is null).Select(c => c.Name));
                var resource = CheckResource(state, asked.ResourceType, asked.ResourceName, names);
                var values = ConfigurationsImage.NoValues.ToBuilder();
                foreach (var config in asked.Configs)
                    values[config.Name] = config.Value!;
                records.AddRange(Replace(state, resource, values.ToImmutable()));
            });
            response.Responses.Add(new()
            {
                ErrorCode = error,
                ErrorMessage = message,
                ResourceType = asked.ResourceType,
                ResourceName = asked.ResourceName,
            });
        }

        return new(response, request.ValidateOnly ? [] : records);
    }

    private static (ErrorCode, string?) Guard(Action check)
    {
        try
        {
            check();
            return (ErrorCode.None, null);
        }
        catch (RefusedException e)
        {
            return (e.Error, e.Text);
        }
        catch (ConfigException e)
        {
            return (e.IsInvalidRequest ? ErrorCode.InvalidRequest : ErrorCode.InvalidConfig, e.Message);
        }
    }

    private static void CheckOnce(int count, IEnumerable<string> names)
    {
        if (count > 1)
            throw new RefusedException(ErrorCode.InvalidRequest, DuplicateResource);
        if (names.CountBy(n => n).Any(c => c.Value > 1))
            throw new RefusedException(ErrorCode.InvalidRequest, DuplicateKeys);
    }

    private static void CheckNulls(IEnumerable<string> names)
    {
        var nulls = string.Join(",", names);
        if (nulls.Length > 0)
            throw new RefusedException(ErrorCode.InvalidRequest, $"Null value not supported for : {nulls}");
    }

    private static ConfigResource CheckResource(ControlState state, sbyte type, string name,
        IEnumerable<string> configs)
    {
        switch ((ConfigResourceType)type)
        {
            case ConfigResourceType.Topic when name.Length == 0:
                throw new RefusedException(ErrorCode.InvalidRequest, "Default topic resources are not allowed.");
            case ConfigResourceType.Topic:
                if (TopicNames.Check(name) is { } problem)
                    throw new RefusedException(ErrorCode.InvalidTopicException, $"Topic name is invalid: {problem}");
                if (state.Image.Topics.Find(name) is null)
                    throw new RefusedException(ErrorCode.UnknownTopicOrPartition,
                        $"The topic '{name}' does not exist.");
                break;
            case ConfigResourceType.Broker:
                CheckBroker(state, name);
                break;
            case ConfigResourceType.BrokerLogger:
                CheckBroker(state, name);
                throw new RefusedException(ErrorCode.InvalidConfig,
                    $"Logger {configs.FirstOrDefault()} does not exist!");
            case ConfigResourceType.ClientMetrics when name.Length == 0:
                throw new RefusedException(ErrorCode.InvalidRequest, "Subscription name can't be empty");
            case ConfigResourceType.Group when name.Length == 0:
                throw new RefusedException(ErrorCode.InvalidRequest, "Default group resources are not allowed.");
            case ConfigResourceType.ClientMetrics or ConfigResourceType.Group:
                break;
            default:
                throw new RefusedException(ErrorCode.InvalidRequest, $"Unknown resource type {type}");
        }

        return new ConfigResource((ConfigResourceType)type, name);
    }

    private static void CheckBroker(ControlState state, string name)
    {
        if (name.Length == 0)
            return;
        if (!int.TryParse(name, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var id))
            throw new RefusedException(ErrorCode.InvalidRequest, $"Node id must be an integer, but it is: {name}");
        if (id != state.NodeId && !state.Image.Brokers.ContainsKey(id))
            throw new RefusedException(
                ErrorCode.InvalidRequest, $"Unexpected broker id, expected {state.NodeId}, but received {name}");
    }

    private static ImmutableSortedDictionary<string, string> Apply(
        ControlState state, ConfigResource resource, ImmutableSortedDictionary<string, string> values,
        IncrementalAlterConfigsRequest.AlterableConfig config)
    {
        switch ((Operation)config.ConfigOperation)
        {
            case Operation.Set:
                return values.SetItem(config.Name, config.Value!);
            case Operation.Delete:
                return values.Remove(config.Name);
            case Operation.Append or Operation.Subtract:
                var definition = Definition(state.Broker.Catalog, resource.Type, config.Name);
                var what = (Operation)config.ConfigOperation == Operation.Append ? "APPEND" : "SUBTRACT";
                if (definition is not { Type: ConfigType.List })
                    throw new RefusedException(
                        ErrorCode.InvalidConfig, $"Can't {what} to key {config.Name} because its type is not LIST.");
                var parts = Split(values.GetValueOrDefault(config.Name) ?? definition.DefaultValue).ToList();
                foreach (var part in Split(config.Value))
                    if (what == "SUBTRACT")
                        parts.RemoveAll(p => p == part);
                    else if (!parts.Contains(part))
                        parts.Add(part);
                return values.SetItem(config.Name, string.Join(",", parts));
            default:
                throw new RefusedException(
                    ErrorCode.InvalidRequest, $"Unknown operation {config.ConfigOperation} on key {config.Name}");
        }
    }

    private static string[] Split(string? list) =>
        (list ?? "").Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);

    private static ConfigDefinition? Definition(ConfigCatalog catalog, ConfigResourceType type, string name)
    {
        ConfigDefinition? definition;
        var found = type switch
        {
            ConfigResourceType.Topic => catalog.TryGet(ConfigScope.Topic, name, out definition),
            ConfigResourceType.Group => catalog.TryGet(ConfigScope.Group, name, out definition),
            ConfigResourceType.ClientMetrics => catalog.TryGet(ConfigScope.ClientMetrics, name, out definition),
            _ => catalog.TryGetBroker(name, out definition),
        };
        return found ? definition : null;
    }

    /// <summary>Checks everything that will be set on the resource, and makes the records for what is different
    /// now.</summary>
    private static List<MetadataRecord> Replace(
        ControlState state, ConfigResource resource, ImmutableSortedDictionary<string, string> values)
    {
        var before = state.Image.Configs.Of(resource);
        CheckElr(state, resource, before, values);
        var pairs = values.Select(v => KeyValuePair.Create(v.Key, (string?)v.Value));
        switch (resource.Type)
        {
            case ConfigResourceType.Topic:
                TopicConfigRules.Validate(state.Broker, pairs);
                break;
            case ConfigResourceType.Group:
                GroupConfigRules.Validate(state.Broker, pairs);
                break;
            case ConfigResourceType.ClientMetrics:
                ClientMetricsConfigRules.Validate(state.Broker, pairs);
                break;
            default:
                BrokerConfigRules.ValidateUpdate(state.Broker, isDefault: resource.Name.Length == 0, values);
                break;
        }

        return [.. values.Where(v => before.GetValueOrDefault(v.Key) != v.Value).Select(v =>
            Record(resource, v.Key, v.Value)),
            .. before.Keys.Where(name => !values.ContainsKey(name)).Select(name => Record(resource, name, null))];
    }

    /// <summary>With ELR, the cluster-wide minimum must stay set, and no broker may have one of its own.</summary>
    private static void CheckElr(
        ControlState state, ConfigResource resource,
        ImmutableSortedDictionary<string, string> before, ImmutableSortedDictionary<string, string> after)
    {
        if (!state.IsElrEnabled || resource.Type != ConfigResourceType.Broker
            || before.GetValueOrDefault(MinInsyncReplicas) == after.GetValueOrDefault(MinInsyncReplicas))
            return;
        if (resource.Name.Length > 0)
            throw new RefusedException(
                ErrorCode.InvalidConfig, "Broker-level min.insync.replicas cannot be altered while ELR is enabled.");
        if (!after.ContainsKey(MinInsyncReplicas))
            throw new RefusedException(
                ErrorCode.InvalidConfig, "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.");
    }

    private static MetadataRecord Record(ConfigResource resource, string name, string? value) => new(
        new ConfigRecord
        {
            ResourceType = (sbyte)resource.Type,
            ResourceName = resource.Name,
            Name = name,
            Value = value,
        },
        0);
}
