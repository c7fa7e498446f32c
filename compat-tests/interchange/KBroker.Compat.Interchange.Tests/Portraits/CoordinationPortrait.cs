using KBroker.Compat.Harness;
using KBroker.Compat.Interchange.Tests.Wire;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Compat.Interchange.Tests.Portraits;

/// <summary>
/// Takes what coordinators know: groups and their offsets, transactions; and users, quotas and permissions. Sections of
/// APIs that the broker does not serve are left out.
/// </summary>
internal sealed class CoordinationPortrait(WireClient client, Portrait portrait)
{
    public async Task TakeAsync()
    {
        if (client.Serves(ApiKey.ListGroups) && client.Serves(ApiKey.OffsetFetch))
            await TakeGroupsAsync();
        if (client.Serves(ApiKey.ListTransactions) && client.Serves(ApiKey.DescribeTransactions))
            await TakeTransactionsAsync();
        if (client.Serves(ApiKey.DescribeClientQuotas))
            await TakeQuotasAsync();
        if (client.Serves(ApiKey.DescribeUserScramCredentials))
            await TakeScramAsync();
    }

    private async Task TakeGroupsAsync()
    {
        portrait.Begin(Section.Groups);
        portrait.Begin(Section.GroupOffsets);
        var groups = new ListGroupsResponse();
        await Poll.UntilAsync("the group coordinator has loaded", async () =>
        {
            groups = await client.SendAsync<ListGroupsResponse>(new ListGroupsRequest());
            return groups.ErrorCode == ErrorCode.None;
        });
        foreach (var group in groups.Groups)
            portrait.Add(Section.Groups, group.GroupId,
                $"{group.GroupType} '{group.ProtocolType}' {group.GroupState}");
        foreach (var group in groups.Groups.Where(g => g.GroupType is "classic" or "consumer"))
            await TakeOffsetsAsync(group.GroupId);
    }

    private async Task TakeOffsetsAsync(string group)
    {
        var answer = await client.SendAsync<OffsetFetchResponse>(new OffsetFetchRequest
        {
            Groups = [new() { GroupId = group, Topics = null }],
            RequireStable = false,
        });
        var result = answer.Groups.Single();
        Assert.Equal(ErrorCode.None, result.ErrorCode);
        foreach (var topic in result.Topics)
            foreach (var p in topic.Partitions)
                portrait.Add(Section.GroupOffsets, $"{group} {topic.TopicId}-{p.PartitionIndex}",
                    $"{p.ErrorCode} {p.CommittedOffset} epoch {p.CommittedLeaderEpoch} '{p.Metadata}'");
    }

    private async Task TakeTransactionsAsync()
    {
        portrait.Begin(Section.Transactions);
        var all = new ListTransactionsResponse();
        await Poll.UntilAsync("the transaction coordinator has loaded", async () =>
        {
            all = await client.SendAsync<ListTransactionsResponse>(new ListTransactionsRequest());
            return all.ErrorCode == ErrorCode.None;
        });
        if (all.TransactionStates.Count == 0)
            return;
        var answer = await client.SendAsync<DescribeTransactionsResponse>(new DescribeTransactionsRequest
        {
            TransactionalIds = all.TransactionStates.ConvertAll(t => t.TransactionalId),
        });
        foreach (var t in answer.TransactionStates)
            portrait.Add(Section.Transactions, t.TransactionalId,
                $"{t.ErrorCode} {t.TransactionState} producer {t.ProducerId}/{t.ProducerEpoch} since"
                + $" {t.TransactionStartTimeMs} limit {t.TransactionTimeoutMs} ["
                + string.Join(' ', t.Topics.Select(x => $"{x.Topic}: {string.Join(',', x.Partitions)}")) + "]");
    }

    private async Task TakeQuotasAsync()
    {
        portrait.Begin(Section.Quotas);
        var answer = await client.SendAsync<DescribeClientQuotasResponse>(new DescribeClientQuotasRequest());
        Assert.Equal(ErrorCode.None, answer.ErrorCode);
        foreach (var entry in answer.Entries ?? [])
            portrait.Add(Section.Quotas, string.Join(' ', entry.Entity.Select(e => $"{e.EntityType}={e.EntityName}")),
                string.Join(' ', entry.Values.Select(v => $"{v.Key}={v.Value}").Order(StringComparer.Ordinal)));
    }

    private async Task TakeScramAsync()
    {
        portrait.Begin(Section.Scram);
        var answer = await client.SendAsync<DescribeUserScramCredentialsResponse>(
            new DescribeUserScramCredentialsRequest { Users = null });
        Assert.Equal(ErrorCode.None, answer.ErrorCode);
        foreach (var user in answer.Results)
            portrait.Add(Section.Scram, user.User, string.Join(' ', user.CredentialInfos.Select(c =>
                $"{c.Mechanism}x{c.Iterations}")));
    }
}
