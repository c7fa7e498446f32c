using KBroker.Coordination.Groups.Consumer.State;
using KBroker.Coordination.Runtime;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Groups.Consumer;

/// <summary>Checks what a ConsumerGroupHeartbeat says, as far as that does not need the group.</summary>
internal static class HeartbeatRequestCheck
{
    /// <summary>Checks a request.</summary>
    /// <param name="message">The request.</param>
    /// <param name="version">Its version: from 1 on a member makes its id itself.</param>
    /// <param name="assignors">The names of the assignors.</param>
    /// <exception cref="CoordinatorException">INVALID_REQUEST, UNSUPPORTED_ASSIGNOR.</exception>
    public static void Check(
        ConsumerGroupHeartbeatRequest message, short version, IReadOnlyCollection<string> assignors)
    {
        if (version >= 1 || message.MemberEpoch is > 0 or ConsumerMember.LeaveEpoch)
            RefuseBlank(message.MemberId, "MemberId can't be empty.");
        RefuseBlank(message.GroupId, "GroupId can't be empty.");
        RefuseBlank(message.InstanceId, "InstanceId can't be empty.");
        RefuseBlank(message.RackId, "RackId can't be empty.");
        switch (message.MemberEpoch)
        {
            case 0:
                if (message.RebalanceTimeoutMs == -1)
                    throw Invalid("RebalanceTimeoutMs must be provided in first request.");
                if (message.TopicPartitions is not { Count: 0 })
                    throw Invalid("TopicPartitions must be empty when (re-)joining.");
                if (message is { SubscribedTopicNames: null, SubscribedTopicRegex: null })
                {
                    throw Invalid(
                        "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.");
                }

                break;
            case ConsumerMember.StaticLeaveEpoch:
                if (message.InstanceId is null)
                    throw Invalid("InstanceId can't be null.");
                break;
            case < ConsumerMember.StaticLeaveEpoch:
                throw Invalid("MemberEpoch is invalid.");
            default:
                break;
        }

        if (message.ServerAssignor is { } assignor && !assignors.Contains(assignor))
        {
            throw new CoordinatorException(
                ErrorCode.UnsupportedAssignor,
                $"ServerAssignor {assignor} is not supported. Supported assignors: {string.Join(", ", assignors)}.");
        }
    }

    private static void RefuseBlank(string? text, string error)
    {
        if (text is not null && text.Trim().Length == 0)
            throw Invalid(error);
    }

    private static CoordinatorException Invalid(string error) => new(ErrorCode.InvalidRequest, error);
}
