using KBroker.Coordination.Groups.Consumer.State;
using KBroker.Coordination.Groups.Consumer.Subscriptions;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using Microsoft.Extensions.Logging;

namespace KBroker.Coordination.Groups.Consumer;

/// <summary>What became of a member's regular expression in a step.</summary>
internal enum RegexChange
{
    /// <summary>It is as before.</summary>
    None,

    /// <summary>It is another one, whose topics are not known yet.</summary>
    Changed,

    /// <summary>It is another one with known topics, or none any more.</summary>
    ChangedAndResolved,
}

/// <summary>
/// Finds the topics of regular expressions. All expressions of a group are matched together, beside the shard, so that
/// a refresh costs one rebalance at most.
/// </summary>
/// <param name="groups">The groups of the shard.</param>
/// <param name="epochs">Moves a group's epoch on when topics were found or lost.</param>
/// <param name="logger">Where failures are told.</param>
internal sealed class RegexSubscriptions(GroupMap groups, GroupEpochs epochs, ILogger logger)
{
    /// <summary>The least time between two refreshes of a group, milliseconds.</summary>
    public const long MinRefreshIntervalMs = 10_000;

    /// <summary>The offset of the last metadata with new topics.</summary>
    public long LastVersionWithNewTopics { get; set; } = -1;

    /// <summary>Refuses what is no regular expression, unless the group has it already.</summary>
    /// <param name="group">The group, or null when it is new.</param>
    /// <param name="regex">The expression; null or empty for none.</param>
    /// <exception cref="CoordinatorException">INVALID_REGULAR_EXPRESSION.</exception>
    public static void Check(ConsumerGroup? group, string? regex)
    {
        if (string.IsNullOrEmpty(regex) || group?.RegexSubscribers(regex) > 0)
            return;
        try
        {
            Re2Pattern.Compile(regex);
        }
        catch (Re2Exception invalid)
        {
            throw new CoordinatorException(
                ErrorCode.InvalidRegularExpression,
                $"SubscribedTopicRegex `{regex}` is not a valid regular expression: {invalid.Message}.");
        }
    }

    /// <summary>
    /// Sees whether a member, whose change is in the group already, has another expression than before; and starts a
    /// refresh when one is due.
    /// </summary>
    /// <param name="turn">The step.</param>
    /// <param name="group">The group.</param>
    /// <param name="before">The member before.</param>
    /// <param name="after">The member now.</param>
    /// <param name="settings">The group's settings.</param>
    /// <param name="mayDescribe">Whether the member may see a topic. It is asked beside the shard.</param>
    public RegexChange Update(
        ICoordinatorTurn turn, ConsumerGroup group, ConsumerMember before, ConsumerMember after,
        ConsumerGroupSettings settings, Predicate<string> mayDescribe)
    {
        var change = RegexChange.None;
        var mustRefresh = false;
        if (before.Regex != after.Regex)
        {
            change = RegexChange.Changed;
            if (before.HasRegex && group.RegexSubscribers(before.Regex!) == 0)
                ConsumerRecords.DeleteRegex(turn, group.GroupId, before.Regex!);
            if (after.HasRegex && group.RegexSubscribers(after.Regex!) == 1)
                mustRefresh = true;
            else if (after.HasRegex ? group.Regexes.ContainsKey(after.Regex!) : before.HasRegex)
                change = RegexChange.ChangedAndResolved;
        }

        if (mustRefresh || after.HasRegex || group.Regexes.Count > 0)
            RefreshIfDue(turn, group, mustRefresh, settings, mayDescribe);
        return change;
    }

    private void RefreshIfDue(
        ICoordinatorTurn turn, ConsumerGroup group, bool isDue, ConsumerGroupSettings settings,
        Predicate<string> mayDescribe)
    {
        if (group.IsResolvingRegexes)
            return;
        var lastMs = group.Regexes.Count == 0 ? 0 : group.Regexes.Values.Max(static r => r.TimestampMs);
        if (lastMs != 0 && turn.NowMs <= lastMs + MinRefreshIntervalMs)
            return;
        var expressions = group.Members.Values.Where(static m => m.HasRegex).Select(static m => m.Regex!).ToHashSet();
        if (expressions.Count == 0)
            return;
        isDue |= expressions.Count != group.Regexes.Count
            || group.Regexes.Values.Max(static r => r.Version) < LastVersionWithNewTopics
            || turn.NowMs > lastMs + settings.RegexRefreshIntervalMs;
        if (!isDue)
            return;

        group.IsResolvingRegexes = true;
        var (groupId, topics, nowMs) = (group.GroupId, turn.Metadata.Topics.ByName.Keys, turn.NowMs);
        var version = turn.Metadata.Provenance.LastContainedOffset;
        turn.RunAside(
            $"consumer-regex/{groupId}",
            () => Resolve(expressions, topics, version, nowMs, mayDescribe),
            (later, found, failure) => Finish(later, groupId, found, failure));
    }

    private static Dictionary<string, ResolvedRegex> Resolve(
        IEnumerable<string> expressions, IEnumerable<string> topics, long version, long nowMs,
        Predicate<string> mayDescribe)
    {
        var visible = topics.Where(topic => mayDescribe(topic)).ToList();
        var found = new Dictionary<string, ResolvedRegex>();
        foreach (var expression in expressions)
        {
            // A record written by another broker may hold what this one does not accept: it has no topics then.
            string[] matching;
            try
            {
                var pattern = Re2Pattern.Compile(expression);
                matching = [.. visible.Where(pattern.Matches)];
            }
            catch (Re2Exception)
            {
                matching = [];
            }

            Array.Sort(matching, string.CompareOrdinal);
            found.Add(expression, new ResolvedRegex(matching, version, nowMs));
        }

        return found;
    }

    private void Finish(
        ICoordinatorTurn turn, string groupId, Dictionary<string, ResolvedRegex>? found, Exception? failure)
    {
        if (groups.Find(groupId) is not ConsumerGroup group)
            return;
        group.IsResolvingRegexes = false;
        if (found is null)
        {
            logger.LogError(failure, "Group {Group}: its regular expressions could not be resolved.", groupId);
            return;
        }

        var changed = false;
        foreach (var (regex, resolved) in found)
        {
            if (group.RegexSubscribers(regex) == 0)
                continue;
            var known = group.Regexes.GetValueOrDefault(regex)?.Topics ?? [];
            changed |= !known.AsSpan().SequenceEqual(resolved.Topics);
            ConsumerRecords.AppendRegex(turn, groupId, regex, resolved);
        }

        epochs.Refresh(turn, group, changed);
    }
}
