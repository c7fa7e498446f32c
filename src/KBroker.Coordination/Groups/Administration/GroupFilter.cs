using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Groups.Administration;

/// <summary>
/// Which groups ListGroups is to show: by state (KIP-518) and type (KIP-848), in any case; an empty filter lets all
/// pass, and a name that does not exist none.
/// </summary>
/// <param name="request">The request.</param>
internal sealed class GroupFilter(ListGroupsRequest request)
{
    private readonly HashSet<string> _states = new(request.StatesFilter, StringComparer.OrdinalIgnoreCase);
    private readonly HashSet<string> _types = new(request.TypesFilter, StringComparer.OrdinalIgnoreCase);

    /// <summary>The groups that pass, as they are listed.</summary>
    /// <param name="groups">The groups of a shard.</param>
    public IReadOnlyList<ListGroupsResponse.ListedGroup> Select(IReadOnlyCollection<Group> groups)
    {
        var listed = new List<ListGroupsResponse.ListedGroup>();
        foreach (var group in groups)
        {
            var state = group.StateName;
            var type = NameOf(group.Type);
            if ((_states.Count > 0 && !_states.Contains(state)) || (_types.Count > 0 && !_types.Contains(type)))
                continue;
            listed.Add(new ListGroupsResponse.ListedGroup
            {
                GroupId = group.GroupId,
                ProtocolType = group.ProtocolType,
                GroupState = state,
                GroupType = type,
            });
        }

        return listed;
    }

    private static string NameOf(GroupType type) => type == GroupType.Classic ? "classic" : "consumer";
}
