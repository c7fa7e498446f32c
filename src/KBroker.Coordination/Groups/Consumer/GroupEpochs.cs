using KBroker.Coordination.Groups.Consumer.State;
using KBroker.Coordination.Groups.Consumer.Subscriptions;
using KBroker.Coordination.Runtime;
using Microsoft.Extensions.Logging;

namespace KBroker.Coordination.Groups.Consumer;

/// <summary>Moves a group's epoch on when its members, subscriptions or topics have changed.</summary>
/// <param name="hashes">The hashes of topics.</param>
/// <param name="logger">Where new epochs are told.</param>
internal sealed class GroupEpochs(MetadataHashes hashes, ILogger logger)
{
    /// <summary>
    /// Looks at the group's topics, and moves the epoch on if they changed, or anyway.
    /// </summary>
    /// <param name="turn">The step.</param>
    /// <param name="group">The group.</param>
    /// <param name="always">Whether it moves on even when the topics are as before.</param>
    public void Refresh(ICoordinatorTurn turn, ConsumerGroup group, bool always)
    {
        var hash = hashes.OfGroup(group.SubscribedTopics, turn.Metadata);
        group.IsMetadataStale = false;
        if (!always && hash == group.MetadataHash)
            return;
        ConsumerRecords.AppendEpoch(turn, group.GroupId, group.GroupEpoch + 1, hash);
        logger.LogDebug(
            "Group {Group}: epoch {Epoch}, metadata hash {Hash}.", group.GroupId, group.GroupEpoch, hash);
    }
}
