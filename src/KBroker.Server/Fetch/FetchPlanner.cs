using KBroker.Cluster.Metadata;
using KBroker.Cluster.Replication;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Storage;

namespace KBroker.Server.Fetch;

/// <summary>The limits of one fetch request.</summary>
/// <param name="MaxBytes">The most bytes of records in the answer; the first batch may exceed it.</param>
/// <param name="MinBytes">The fewest bytes worth an answer before the time is up.</param>
/// <param name="Limit">How far the reader may see.</param>
public readonly record struct FetchLimits(int MaxBytes, int MinBytes, ReadLimit Limit);

/// <summary>What one pass over the partitions found. Plain data: the records are file regions, not yet read.</summary>
/// <param name="Answers">One answer for each partition of the context, in order; there may be room behind them. Null
/// where an incremental fetch has nothing to tell.</param>
/// <param name="Bytes">Bytes of all records but fillers, for which nobody is woken.</param>
/// <param name="MustAnswerNow">Whether an error or a diverging epoch makes waiting pointless.</param>
public sealed record FetchPlan(FetchResponse.PartitionData?[] Answers, long Bytes, bool MustAnswerNow)
{
    /// <summary>Gives up the regions of a plan that is not going to be sent.</summary>
    public void Release()
    {
        foreach (var answer in Answers)
            answer?.Records?.Dispose();
    }
}

/// <summary>Plans fetch answers: in order, within the byte budget, nothing read but headers and indexes.</summary>
/// <param name="partitions">The partitions of this broker.</param>
/// <param name="metadata">The metadata, for topic ids.</param>
public sealed class FetchPlanner(PartitionRegistry partitions, IMetadataLog metadata)
{
    /// <summary>
    /// Plans the answer of every partition. An incremental fetch takes further ones from its session while there are
    /// bytes left to give.
    /// </summary>
    /// <param name="fetch">The partitions.</param>
    /// <param name="limits">The request's limits.</param>
    /// <returns>The plan; whoever takes it sends or releases it.</returns>
    public FetchPlan Plan(FetchContext fetch, in FetchLimits limits)
    {
        var answers = fetch.Count == 0 ? [] : new FetchResponse.PartitionData?[fetch.Count];
        var bytes = 0L;
        var now = false;
        for (var i = 0; ; i++)
        {
            var left = (int)Math.Max(0, limits.MaxBytes - bytes);
            if (i == fetch.Count && ((left == 0 && bytes > 0) || !fetch.TryTakeNext()))
                break;
            var state = fetch.Partitions[i];
            var answer = Read(state, left, limits.Limit, minOneMessage: bytes == 0, fetch.IsIncremental);
            bytes += state.HasFiller ? 0 : answer?.Records?.SizeInBytes ?? 0;
            now |= answer is not null
                && (answer.ErrorCode != ErrorCode.None || state.HasDiverged || state.IsCut);
            if (i == answers.Length)
                Array.Resize(ref answers, Math.Max(4, i * 2));
            answers[i] = answer;
        }

        return new FetchPlan(answers, bytes, now);
    }

    /// <summary>
    /// Whether at least <see cref="FetchLimits.MinBytes"/> may be there now, judged without touching an index: any
    /// partition with visible records past its position makes a real plan worth it.
    /// </summary>
    /// <param name="wanted">The partitions.</param>
    /// <param name="limit">How far the reader may see.</param>
    /// <returns>False when a plan would surely find nothing new.</returns>
    public bool MayHaveNews(ReadOnlySpan<FetchPartitionState> wanted, ReadLimit limit)
    {
        foreach (var state in wanted)
        {
            if (Find(state.Key, out var partition) != ErrorCode.None || !partition!.IsLeader)
                return true;
            if (EndOf(partition, limit) > state.PlannedOffset)
                return true;
        }

        return false;
    }

    /// <summary>The names of the partitions, to watch them.</summary>
    /// <param name="wanted">The partitions.</param>
    /// <returns>The names of those that exist.</returns>
    public TopicPartition[] KeysOf(ReadOnlySpan<FetchPartitionState> wanted)
    {
        var keys = new List<TopicPartition>(wanted.Length);
        foreach (var state in wanted)
        {
            if (Find(state.Key, out var partition) == ErrorCode.None)
                keys.Add(partition!.TopicPartition);
        }

        return [.. keys];
    }

    private ErrorCode Find(in FetchPartitionKey key, out Partition? partition)
    {
        if (key.TopicName is { } name)
            return partitions.Find(new TopicPartition(name, key.Partition), out partition);
        if (partitions.TryFind(key.TopicId, key.Partition, out partition))
            return ErrorCode.None;
        if (metadata.Image.Topics.Find(key.TopicId) is not { } topic)
            return ErrorCode.UnknownTopicId;
        return partitions.Find(new TopicPartition(topic.Name, key.Partition), out partition);
    }

    private static long EndOf(Partition partition, ReadLimit limit) => limit switch
    {
        ReadLimit.HighWatermark => partition.HighWatermark,
        ReadLimit.LastStableOffset => partition.LastStableOffset,
        _ => partition.Log.LogEndOffset,
    };

    private FetchResponse.PartitionData? Read(
        FetchPartitionState state, int bytesLeft, ReadLimit limit, bool minOneMessage, bool newsOnly)
    {
        var error = Find(state.Key, out var partition);
        var end = long.MaxValue;
        if (error == ErrorCode.None)
        {
            // Before the first look: what changes later is told.
            state.Observe(partition!);
            end = EndOf(partition!, limit);
        }

        var read = error != ErrorCode.None
            ? PartitionRead.Failed(error)
            : partition!.Read(
                state.FetchOffset,
                Math.Min(Math.Max(0, state.MaxBytes), bytesLeft),
                limit,
                state.CurrentLeaderEpoch,
                state.LastFetchedEpoch,
                minOneMessage,
                state.HiddenTo);
        state.HiddenTo = read.Error == ErrorCode.None ? read.HiddenTo : -1;
        state.HasMore = read.Error != ErrorCode.None || read.Diverging is not null || end > state.FetchOffset;
        state.HasDiverged = read.Diverging is not null;
        state.IsCut = read.IsCut;
        state.HasFiller = read.IsFiller;
        if (newsOnly && read.Error == ErrorCode.None && read.Diverging is null && read.Records.IsEmpty
            && !state.IsNews(read.HighWatermark, read.LogStartOffset))
            return null;
        var answer = new FetchResponse.PartitionData
        {
            PartitionIndex = state.Key.Partition,
            ErrorCode = read.Error,
            HighWatermark = read.HighWatermark,
            LastStableOffset = read.LastStableOffset,
            LogStartOffset = read.LogStartOffset,
            Records = read.Records,
            AbortedTransactions = limit == ReadLimit.LastStableOffset ? Aborted(read.AbortedTransactions) : null,
        };
        if (read.Diverging is { } diverging)
        {
            answer.DivergingEpoch = new FetchResponse.EpochEndOffset
            {
                Epoch = diverging.Epoch,
                EndOffset = diverging.EndOffset,
            };
        }

        return answer;
    }

    private static List<FetchResponse.AbortedTransaction> Aborted(IReadOnlyList<AbortedTransaction>? aborted)
    {
        var answers = new List<FetchResponse.AbortedTransaction>(aborted?.Count ?? 0);
        foreach (var transaction in aborted ?? [])
            answers.Add(new() { ProducerId = transaction.ProducerId, FirstOffset = transaction.FirstOffset });
        return answers;
    }
}
