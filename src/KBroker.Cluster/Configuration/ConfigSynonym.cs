namespace KBroker.Cluster.Configuration;

/// <summary>A broker config whose value serves where a more specific one is not set.</summary>
/// <param name="Name">Name of the broker config.</param>
/// <param name="Factor">What its number is multiplied by: 3,600,000 for hours where milliseconds are wanted.</param>
public readonly record struct ConfigSynonym(string Name, long Factor);
