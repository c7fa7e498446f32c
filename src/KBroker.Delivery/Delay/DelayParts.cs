using KBroker.Delivery.CheckBack;
using KBroker.Protocol.Records;
using KBroker.Storage;
using KBroker.Storage.Files;
using KBroker.Timing;
using Microsoft.Extensions.Logging;

namespace KBroker.Delivery.Delay;

/// <summary>What all schedules of a broker share.</summary>
internal sealed record DelayParts
{
    /// <summary>Where their files lie.</summary>
    public required IFileSystem Files { get; init; }

    /// <summary>The timing wheel.</summary>
    public required ITaskTimer Timer { get; init; }

    /// <summary>The clock.</summary>
    public required TimeProvider Time { get; init; }

    /// <summary>Codecs of batches.</summary>
    public required CompressionCodecs Codecs { get; init; }

    /// <summary>Where they tell what they do.</summary>
    public required ILogger Logger { get; init; }

    /// <summary>Where records go that leave their partition.</summary>
    public required ITargetTopics Targets { get; init; }

    /// <summary>What is counted.</summary>
    public required DelayMetrics Metrics { get; init; }

    /// <summary>Where schedules do their work.</summary>
    public ITaskExecutor Executor { get; init; } = new ThreadPoolExecutor();

    /// <summary>Near entries of a partition, in memory: up to twice this many, 24 bytes each.</summary>
    public int NearMax { get; init; } = 16_384;

    /// <summary>Far entries of a partition in memory before they become a file.</summary>
    public int FarMax { get; init; } = 8_192;

    /// <summary>After how many batches and deliveries the files are brought up to date.</summary>
    public long CheckpointWork { get; init; } = 50_000;

    /// <summary>After which time they are, if there was any work, ms.</summary>
    public long CheckpointIntervalMs { get; init; } = 30_000;

    /// <summary>
    /// The least time between two deliveries of a partition that is not behind, ms: where many records are due a
    /// second, they come in batches, and not one by one.
    /// </summary>
    public long GatherMs { get; init; } = 3;

    /// <summary>How long to wait after a failure, ms.</summary>
    public long RetryMs { get; init; } = 200;

    /// <summary>Entries looked at for one answer about what is pending, at most.</summary>
    public int QueryScanMax { get; init; } = 100_000;

    /// <summary>How long a deletion waits for records to be carried forward.</summary>
    public TimeSpan ReleaseTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>The time, epoch ms.</summary>
    public long NowMs => Time.GetUtcNow().ToUnixTimeMilliseconds();

    /// <summary>The time of the monotonic clock, ms.</summary>
    public long MonotonicMs => Time.GetTimestamp() / (Time.TimestampFrequency / 1000);
}

/// <summary>Tells how far a long reading is, every few seconds.</summary>
internal sealed class LoadProgress(
    TimeProvider time, ILogger logger, TopicPartition partition, long endOffset)
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(5);
    private long _last = time.GetTimestamp();

    /// <summary>Notes how far it is.</summary>
    public void Report(long offset)
    {
        if (IsTime())
        {
            logger.LogInformation(
                "Looking for delayed records of {Partition}: at offset {Offset} of {End}.",
                partition,
                offset,
                endOffset);
        }
    }

    /// <summary>Notes how many of those that the files have were counted.</summary>
    public void ReportCounted(long count)
    {
        if (IsTime())
        {
            logger.LogInformation(
                "Looking for delayed records of {Partition}: {Count} so far in the schedule's files.",
                partition,
                count);
        }
    }

    private bool IsTime()
    {
        if (time.GetElapsedTime(_last) < Interval)
            return false;
        _last = time.GetTimestamp();
        return true;
    }
}
