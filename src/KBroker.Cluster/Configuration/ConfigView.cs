using KBroker.Cluster.Metadata;

namespace KBroker.Cluster.Configuration;

/// <summary>
/// The configs in force now: this broker's properties with the dynamic values of the metadata over them. It follows the
/// metadata as its first subscriber, so that whoever hears of a change later finds it here.
/// </summary>
public sealed class ConfigView : IMetadataSubscriber
{
    private readonly string _brokerName;
    private volatile BrokerConfigValues _broker;
    private volatile ConfigurationsImage _image = ConfigurationsImage.Empty;

    /// <summary>Starts with the properties alone.</summary>
    /// <param name="broker">The values of server.properties.</param>
    /// <param name="brokerId">This broker's id: the name under which its own dynamic values stand.</param>
    public ConfigView(BrokerConfigValues broker, int brokerId)
    {
        _broker = broker;
        _brokerName = brokerId.ToString(System.Globalization.CultureInfo.InvariantCulture);
    }

    /// <summary>The broker's configs.</summary>
    public BrokerConfigValues Broker => _broker;

    /// <summary>The configs of a topic, whether or not it exists.</summary>
    /// <param name="name">The topic's name.</param>
    public TopicConfigValues OfTopic(string name) => new(_broker, _image.OfTopic(name));

    /// <summary>The configs of a group, whether or not it exists.</summary>
    /// <param name="name">The group's id.</param>
    public GroupConfigValues OfGroup(string name) => new(_broker, _image.Of(new(ConfigResourceType.Group, name)));

    /// <summary>The configs of a client metrics subscription (KIP-714).</summary>
    /// <param name="name">The subscription's name.</param>
    public ClientMetricsConfigValues OfClientMetrics(string name) =>
        new(_broker, _image.Of(new(ConfigResourceType.ClientMetrics, name)));

    /// <summary>Whether a change concerns the configs that every topic inherits.</summary>
    /// <param name="resource">The resource changed.</param>
    public bool IsBroker(ConfigResource resource) =>
        resource.Type == ConfigResourceType.Broker && (resource.Name.Length == 0 || resource.Name == _brokerName);

    /// <inheritdoc/>
    public void OnMetadata(MetadataUpdate update)
    {
        ArgumentNullException.ThrowIfNull(update);
        _image = update.Current.Configs;
        if (update.Delta is null || update.ChangedConfigs.Any(IsBroker))
        {
            _broker = _broker.WithDynamic(
                _image.Of(ConfigResource.DefaultBroker),
                _image.Of(new ConfigResource(ConfigResourceType.Broker, _brokerName)));
        }
    }
}
