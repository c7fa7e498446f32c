using System.Diagnostics.CodeAnalysis;
using System.Text.RegularExpressions;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Transactions;

/// <summary>What DescribeTransactions and ListTransactions show.</summary>
internal static class TransactionViews
{
    /// <summary>The state of one id.</summary>
    /// <param name="shard">Its shard.</param>
    /// <param name="transactionalId">The id.</param>
    public static DescribeTransactionsResponse.TransactionStateData Describe(
        TransactionShard shard, string transactionalId)
    {
        if (shard.Find(transactionalId) is not { Epoch: >= 0 } entry)
            return new() { TransactionalId = transactionalId, ErrorCode = ErrorCode.TransactionalIdNotFound };
        var state = new DescribeTransactionsResponse.TransactionStateData
        {
            TransactionalId = transactionalId,
            TransactionState = TransactionStates.Name(entry.State),
            TransactionTimeoutMs = entry.TimeoutMs,
            TransactionStartTimeMs = entry.StartMs,
            ProducerId = entry.ProducerId,
            ProducerEpoch = entry.Epoch,
        };
        foreach (var topic in entry.Partitions.GroupBy(static p => p.Topic))
        {
            state.Topics.Add(new DescribeTransactionsResponse.TopicData
            {
                Topic = topic.Key,
                Partitions = [.. topic.Select(static p => p.Partition)],
            });
        }

        return state;
    }

    /// <summary>An id as it stands in a list.</summary>
    /// <param name="entry">Its entry.</param>
    public static ListTransactionsResponse.TransactionStateData List(TransactionEntry entry) => new()
    {
        TransactionalId = entry.TransactionalId,
        ProducerId = entry.ProducerId,
        TransactionState = TransactionStates.Name(entry.State),
    };

    /// <summary>Reads the filters of ListTransactions.</summary>
    /// <param name="request">The request.</param>
    /// <param name="filter">The filter.</param>
    /// <param name="error">INVALID_REGULAR_EXPRESSION when the pattern is none.</param>
    /// <returns>False with an error.</returns>
    public static bool TryCreateFilter(
        ListTransactionsRequest request, [NotNullWhen(true)] out TransactionFilter? filter, out ErrorCode error)
    {
        error = ErrorCode.None;
        filter = null;
        var states = new HashSet<TransactionState>();
        var unknown = new List<string>();
        foreach (var name in request.StateFilters)
        {
            if (TransactionStates.TryParse(name, out var state))
                states.Add(state);
            else
                unknown.Add(name);
        }

        Regex? pattern = null;
        if (!string.IsNullOrEmpty(request.TransactionalIdPattern))
        {
            try
            {
                // Linear in the length of the text, as the expressions of RE2 that Kafka's tools promise.
                pattern = new Regex(
                    $@"\A(?:{request.TransactionalIdPattern})\z",
                    RegexOptions.NonBacktracking | RegexOptions.CultureInvariant);
            }
            catch (Exception refused) when (refused is ArgumentException or NotSupportedException)
            {
                error = ErrorCode.InvalidRegularExpression;
                return false;
            }
        }

        filter = new TransactionFilter(
            states, unknown, request.ProducerIdFilters.ToHashSet(), request.DurationFilter, pattern);
        return true;
    }
}

/// <summary>The filters of ListTransactions; an empty one lets everything pass.</summary>
/// <param name="States">The states wanted.</param>
/// <param name="UnknownStates">Names of states that do not exist; when all are unknown, nothing passes.</param>
/// <param name="ProducerIds">The producer ids wanted.</param>
/// <param name="DurationMs">Only transactions open for longer, milliseconds; negative for all.</param>
/// <param name="Pattern">What the whole transactional id must match.</param>
internal sealed record TransactionFilter(
    HashSet<TransactionState> States,
    IReadOnlyList<string> UnknownStates,
    HashSet<long> ProducerIds,
    long DurationMs,
    Regex? Pattern)
{
    /// <summary>Whether an entry passes all filters.</summary>
    /// <param name="entry">The entry.</param>
    /// <param name="nowMs">The time.</param>
    public bool Passes(TransactionEntry entry, long nowMs) =>
        entry.Epoch >= 0
        && (States.Contains(entry.State) || (States.Count == 0 && UnknownStates.Count == 0))
        && (ProducerIds.Count == 0 || ProducerIds.Contains(entry.ProducerId))
        && (DurationMs < 0 || (entry.StartMs >= 0 && nowMs - entry.StartMs > DurationMs))
        && Pattern?.IsMatch(entry.TransactionalId) != false;
}
