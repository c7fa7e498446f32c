using KBroker.Coordination.Groups.Consumer.State;
using KBroker.Protocol;

namespace KBroker.Coordination.Groups.Consumer.Assignors;

/// <summary>A topic whose partitions are to be given out.</summary>
/// <param name="Id">The topic.</param>
/// <param name="PartitionCount">Its partitions are 0 to this, exclusive.</param>
internal readonly record struct AssignableTopic(Uuid Id, int PartitionCount);

/// <summary>A member that gets partitions.</summary>
/// <param name="MemberId">Its id.</param>
/// <param name="InstanceId">The static member's name, or null.</param>
/// <param name="Topics">The existing topics that it is subscribed to, by id. Members with the same topics have the same
/// array, so that a group whose members all want the same is seen at once.</param>
/// <param name="Current">What it was to own until now.</param>
internal sealed record AssignmentMember(
    string MemberId, string? InstanceId, AssignableTopic[] Topics, PartitionAssignment Current);

/// <summary>Gives each partition of the subscribed topics to one of the members that are subscribed to its topic. A
/// pure function: the same members give the same answer.</summary>
internal interface IPartitionAssignor
{
    /// <summary>Its name in <c>group.consumer.assignors</c> and in requests.</summary>
    string Name { get; }

    /// <summary>Computes a target assignment.</summary>
    /// <param name="members">The members; at least one.</param>
    /// <returns>The partitions of each member, in the order of <paramref name="members"/>.</returns>
    PartitionAssignment[] Assign(IReadOnlyList<AssignmentMember> members);
}
