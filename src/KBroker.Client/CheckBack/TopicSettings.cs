using System.Collections.Concurrent;
using Confluent.Kafka;
using Confluent.Kafka.Admin;

namespace KBroker.Client.CheckBack;

/// <summary>
/// Looks whether topics take half messages. In one that does not, and on Apache Kafka, a half message would be an
/// ordinary record that everybody sees at once.
/// </summary>
internal sealed class TopicSettings(Handle handle) : IDisposable
{
    private const string Setting = "kbroker.txn.enable";
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);
    private readonly IAdminClient _admin = new DependentAdminClientBuilder(handle).Build();
    private readonly ConcurrentDictionary<string, bool> _allowed = new(StringComparer.Ordinal);

    /// <summary>Throws when a topic does not take half messages.</summary>
    /// <exception cref="InvalidOperationException">It does not.</exception>
    /// <exception cref="KafkaException">It cannot be told.</exception>
    public async Task CheckAsync(string topic, CancellationToken cancellation)
    {
        if (_allowed.ContainsKey(topic))
            return;
        var resource = new ConfigResource { Name = topic, Type = ResourceType.Topic };
        var described = await _admin.DescribeConfigsAsync([resource], new() { RequestTimeout = Limit })
            .WaitAsync(cancellation).ConfigureAwait(false);
        if (!described[0].Entries.TryGetValue(Setting, out var entry) || entry.Value != "true")
        {
            throw new InvalidOperationException(
                $"Topic {topic} takes no half messages: its config {Setting} is not true.");
        }

        _allowed[topic] = true;
    }

    /// <summary>Creates the topic of the checks, as the broker would with the first one, so that the group has shared
    /// its partitions by then.</summary>
    /// <exception cref="KafkaException">It cannot be created.</exception>
    public async Task CreateAsync(string topic)
    {
        try
        {
            await _admin.CreateTopicsAsync(
                [new() { Name = topic, NumPartitions = -1, ReplicationFactor = -1 }],
                new() { RequestTimeout = Limit }).ConfigureAwait(false);
        }
        catch (CreateTopicsException refused)
            when (refused.Results.TrueForAll(static r => r.Error.Code == ErrorCode.TopicAlreadyExists))
        {
            // By another instance, or the broker.
        }
    }

    public void Dispose() => _admin.Dispose();
}
