using KBroker.Protocol.Messages;

namespace KBroker.Cluster.Metadata;

/// <summary>Writes an image as the records of a snapshot, in the order in which Apache Kafka writes its own.</summary>
public static class MetadataImageWriter
{
    /// <summary>The records that make the image out of nothing, in versions that the image's metadata.version
    /// allows.</summary>
    public static IEnumerable<MetadataRecord> Records(MetadataImage image)
    {
        var versions = new RecordVersions(image.Features.MetadataVersion);
        if (image.Features.MetadataVersion > 0)
            yield return Feature(SupportedFeatures.MetadataVersion, image.Features.MetadataVersion);
        foreach (var (name, level) in image.Features.Levels)
            if (name != SupportedFeatures.MetadataVersion)
                yield return Feature(name, level);
        foreach (var broker in image.Brokers.Values)
            yield return new(versions.Trim(broker.ToRecord()), versions.RegisterBroker);
        if (versions.HasControllerRegistration)
            foreach (var controller in image.Controllers.Values)
                yield return new(controller.ToRecord(), 0);
        foreach (var topic in image.Topics.ByName.Values)
        {
            yield return new(new TopicRecord { Name = topic.Name, TopicId = topic.Id }, 0);
            foreach (var partition in topic.Partitions)
                yield return new(partition.ToRecord(topic.Id, versions.Partition), versions.Partition);
        }

        foreach (var record in Configs(image))
            yield return record;
        foreach (var quota in image.ClientQuotas.Values)
            yield return new(quota, 0);
        if (image.NextProducerId > 0)
            yield return new(new ProducerIdsRecord
            {
                BrokerId = -1,
                BrokerEpoch = -1,
                NextProducerId = image.NextProducerId,
            }, 0);
        foreach (var acl in image.Acls.Values)
            yield return new(acl, 0);
        foreach (var credential in image.ScramCredentials.Values)
            yield return new(credential, 0);
        foreach (var token in image.DelegationTokens.Values)
            yield return new(token, 0);
    }

    private static MetadataRecord Feature(string name, short level) =>
        new(new FeatureLevelRecord { Name = name, FeatureLevel = level }, 0);

    private static IEnumerable<MetadataRecord> Configs(MetadataImage image)
    {
        foreach (var (resource, values) in image.Configs.Resources)
            foreach (var (name, value) in values)
                yield return new(new ConfigRecord
                {
                    ResourceType = (sbyte)resource.Type,
                    ResourceName = resource.Name,
                    Name = name,
                    Value = value,
                }, 0);
    }
}

/// <summary>Which version of each record a metadata.version demands.</summary>
/// <param name="metadataVersion">The finalized level.</param>
internal readonly struct RecordVersions(short metadataVersion)
{
    private const short RegistrationWithControlledShutdown = 7;
    private const short RegistrationWithMigration = 8;
    private const short ControllerRegistrationFrom = 15;
    private const short DirectoriesFrom = 17;
    private const short ElrFrom = 23;
    private const short CordonedFrom = 30;

    /// <summary>Version of <c>RegisterBrokerRecord</c>.</summary>
    public short RegisterBroker => metadataVersion switch
    {
        >= CordonedFrom => 4,
        >= DirectoriesFrom => 3,
        >= RegistrationWithMigration => 2,
        >= RegistrationWithControlledShutdown => 1,
        _ => 0,
    };

    /// <summary>Version of <c>PartitionRecord</c> and <c>PartitionChangeRecord</c>.</summary>
    public short Partition => metadataVersion switch { >= ElrFrom => 2, >= DirectoriesFrom => 1, _ => 0 };

    /// <summary>Whether <c>RegisterControllerRecord</c> may be written.</summary>
    public bool HasControllerRegistration => metadataVersion >= ControllerRegistrationFrom;

    /// <summary>Whether partitions name the log directories of their replicas.</summary>
    public bool HasDirectories => metadataVersion >= DirectoriesFrom;

    /// <summary>Whether eligible leader replicas may be written.</summary>
    public bool HasElr => metadataVersion >= ElrFrom;

    /// <summary>Whether cordoned log directories may be written.</summary>
    public bool HasCordonedDirectories => metadataVersion >= CordonedFrom;

    /// <summary>Removes from a record what its version cannot carry.</summary>
    public RegisterBrokerRecord Trim(RegisterBrokerRecord record)
    {
        if (!HasDirectories)
            record.LogDirs = [];
        if (!HasCordonedDirectories)
            record.CordonedLogDirs = null;
        return record;
    }
}
