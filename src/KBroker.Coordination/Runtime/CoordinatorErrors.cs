using KBroker.Protocol;

namespace KBroker.Coordination.Runtime;

/// <summary>What clients of a coordinator are told when its own log refuses an append, as Kafka maps it.</summary>
internal static class CoordinatorErrors
{
    /// <summary>The error a client understands: it looks for the coordinator again, or tries again.</summary>
    /// <param name="error">The error of the append, or of the wait for it.</param>
    public static ErrorCode OfAppend(ErrorCode error) => error switch
    {
        ErrorCode.UnknownTopicOrPartition or ErrorCode.NotEnoughReplicas
            or ErrorCode.NotEnoughReplicasAfterAppend or ErrorCode.RequestTimedOut
            => ErrorCode.CoordinatorNotAvailable,
        ErrorCode.NotLeaderOrFollower or ErrorCode.KafkaStorageError or ErrorCode.FencedLeaderEpoch
            => ErrorCode.NotCoordinator,
        ErrorCode.MessageTooLarge or ErrorCode.RecordListTooLarge or ErrorCode.InvalidFetchSize
            => ErrorCode.UnknownServerError,
        _ => error,
    };
}
