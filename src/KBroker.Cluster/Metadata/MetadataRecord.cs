using KBroker.Protocol.Messages;

namespace KBroker.Cluster.Metadata;

/// <summary>One change of the cluster's state: a KRaft metadata record and the version it is (to be) written
/// in.</summary>
/// <param name="Message">A record such as <c>TopicRecord</c>; treated as immutable once it is handed over.</param>
/// <param name="Version">The record's schema version.</param>
public readonly record struct MetadataRecord(IMessage Message, short Version);
