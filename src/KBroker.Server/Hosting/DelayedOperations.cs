using KBroker.Cluster.Replication;
using KBroker.Storage;
using KBroker.Timing;
using Microsoft.Extensions.Logging;

namespace KBroker.Server.Hosting;

/// <summary>
/// What waits in this broker, and the events that end the waiting: a partition tells, the purgatories look.
/// </summary>
internal sealed class DelayedOperations : IPartitionListener, IDisposable
{
    private readonly SystemTimer _timer;
    private readonly TimingMetrics _metrics = new();

    public DelayedOperations(TimeProvider time, ILogger<DelayedOperations> logger)
    {
        _timer = new SystemTimer(
            time, onError: failure => logger.LogError(failure, "A delayed operation failed when its time was up"));
        Produce = new Purgatory<TopicPartition>("Produce", _timer, _metrics);
        Fetch = new Purgatory<TopicPartition>("Fetch", _timer, _metrics);
    }

    /// <summary>The timing wheel, for whatever else has to happen later.</summary>
    public ITaskTimer Timer => _timer;

    /// <summary>Appends that wait for replicas.</summary>
    public Purgatory<TopicPartition> Produce { get; }

    /// <summary>Long polls.</summary>
    public Purgatory<TopicPartition> Fetch { get; }

    public void OnHighWatermarkAdvanced(Partition partition) => CheckAll(partition.TopicPartition);

    public void OnLeadershipLost(Partition partition) => CheckAll(partition.TopicPartition);

    public void OnLogStartOffsetAdvanced(Partition partition) => Fetch.CheckAndComplete(partition.TopicPartition);

    public void Dispose()
    {
        Produce.Dispose();
        Fetch.Dispose();
        _timer.Dispose();
        _metrics.Dispose();
    }

    private void CheckAll(TopicPartition topicPartition)
    {
        Produce.CheckAndComplete(topicPartition);
        Fetch.CheckAndComplete(topicPartition);
    }
}
