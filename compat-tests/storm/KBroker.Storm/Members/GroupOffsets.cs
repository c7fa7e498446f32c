using Confluent.Kafka;

namespace KBroker.Storm.Members;

/// <summary>What a group has committed, as one of its consumers sees it.</summary>
internal static class GroupOffsets
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(90);

    /// <summary>
    /// The committed offsets of a topic. It asks until the coordinator is ready. A consumer asks, not an admin client:
    /// that one crashes in librdkafka 2.15.1 when the coordinator answers that it is not.
    /// </summary>
    /// <returns>The offset of each partition that has one.</returns>
    public static Dictionary<(string Topic, int Partition), long> Committed(
        string bootstrap, string group, string topic, int partitions)
    {
        using var consumer = new ConsumerBuilder<Ignore, Ignore>(
            new ConsumerConfig { BootstrapServers = bootstrap, GroupId = group }).SetLogHandler(static (_, _) => { }).Build();
        var asked = Enumerable.Range(0, partitions).Select(p => new TopicPartition(topic, p)).ToList();
        for (var started = TimeProvider.System.GetTimestamp(); ;)
        {
            try
            {
                return consumer.Committed(asked, Limit).Where(static p => p.Offset.Value >= 0)
                    .ToDictionary(static p => (p.Topic, p.Partition.Value), static p => p.Offset.Value);
            }
            catch (KafkaException problem) when (IsNotReady(problem) && TimeProvider.System.GetElapsedTime(started) < Limit)
            {
                Thread.Sleep(50);
            }
        }
    }

    private static bool IsNotReady(KafkaException problem) => problem.Error.Code
        is ErrorCode.NotCoordinatorForGroup or ErrorCode.GroupLoadInProgress or ErrorCode.GroupCoordinatorNotAvailable
        or ErrorCode.Local_Transport or ErrorCode.Local_WaitCoord or ErrorCode.Local_TimedOut;
}
