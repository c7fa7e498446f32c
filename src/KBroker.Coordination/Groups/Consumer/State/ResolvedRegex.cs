namespace KBroker.Coordination.Groups.Consumer.State;

/// <summary>The topics that a regular expression stands for.</summary>
/// <param name="Topics">Their names, sorted.</param>
/// <param name="Version">The offset of the metadata that they were found in.</param>
/// <param name="TimestampMs">When, epoch milliseconds.</param>
internal sealed record ResolvedRegex(string[] Topics, long Version, long TimestampMs);
