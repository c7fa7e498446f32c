namespace KBroker.Protocol.Tests.Messages;

/// <summary>Numbers on the wire never change: this is the list they are compared with.</summary>
public sealed class PinnedNumberTests
{
    private const string ApiKeys =
        """
        0 Produce, 1 Fetch, 2 ListOffsets, 3 Metadata, 4 LeaderAndIsr, 5 StopReplica, 6 UpdateMetadata,
        7 ControlledShutdown, 8 OffsetCommit, 9 OffsetFetch, 10 FindCoordinator, 11 JoinGroup, 12 Heartbeat,
        13 LeaveGroup, 14 SyncGroup, 15 DescribeGroups, 16 ListGroups, 17 SaslHandshake, 18 ApiVersions,
        19 CreateTopics, 20 DeleteTopics, 21 DeleteRecords, 22 InitProducerId, 23 OffsetForLeaderEpoch,
        24 AddPartitionsToTxn, 25 AddOffsetsToTxn, 26 EndTxn, 27 WriteTxnMarkers, 28 TxnOffsetCommit,
        29 DescribeAcls, 30 CreateAcls, 31 DeleteAcls, 32 DescribeConfigs, 33 AlterConfigs,
        34 AlterReplicaLogDirs, 35 DescribeLogDirs, 36 SaslAuthenticate, 37 CreatePartitions,
        38 CreateDelegationToken, 39 RenewDelegationToken, 40 ExpireDelegationToken,
        41 DescribeDelegationToken, 42 DeleteGroups, 43 ElectLeaders, 44 IncrementalAlterConfigs,
        45 AlterPartitionReassignments, 46 ListPartitionReassignments, 47 OffsetDelete,
        48 DescribeClientQuotas, 49 AlterClientQuotas, 50 DescribeUserScramCredentials,
        51 AlterUserScramCredentials, 52 Vote, 53 BeginQuorumEpoch, 54 EndQuorumEpoch, 55 DescribeQuorum,
        56 AlterPartition, 57 UpdateFeatures, 58 Envelope, 59 FetchSnapshot, 60 DescribeCluster,
        61 DescribeProducers, 62 BrokerRegistration, 63 BrokerHeartbeat, 64 UnregisterBroker,
        65 DescribeTransactions, 66 ListTransactions, 67 AllocateProducerIds, 68 ConsumerGroupHeartbeat,
        69 ConsumerGroupDescribe, 70 ControllerRegistration, 71 GetTelemetrySubscriptions, 72 PushTelemetry,
        73 AssignReplicasToDirs, 74 ListConfigResources, 75 DescribeTopicPartitions, 76 ShareGroupHeartbeat,
        77 ShareGroupDescribe, 78 ShareFetch, 79 ShareAcknowledge, 80 AddRaftVoter, 81 RemoveRaftVoter,
        82 UpdateRaftVoter, 83 InitializeShareGroupState, 84 ReadShareGroupState, 85 WriteShareGroupState,
        86 DeleteShareGroupState, 87 ReadShareGroupStateSummary, 88 StreamsGroupHeartbeat,
        89 StreamsGroupDescribe, 90 DescribeShareGroupOffsets, 91 AlterShareGroupOffsets,
        92 DeleteShareGroupOffsets, 20000 ListPendingRecords
        """;

    private const string ErrorNumbers =
        """
        -1 UnknownServerError, 0 None, 1 OffsetOutOfRange, 2 CorruptMessage, 3 UnknownTopicOrPartition,
        4 InvalidFetchSize, 5 LeaderNotAvailable, 6 NotLeaderOrFollower, 7 RequestTimedOut,
        8 BrokerNotAvailable, 9 ReplicaNotAvailable, 10 MessageTooLarge, 11 StaleControllerEpoch,
        12 OffsetMetadataTooLarge, 13 NetworkException, 14 CoordinatorLoadInProgress,
        15 CoordinatorNotAvailable, 16 NotCoordinator, 17 InvalidTopicException, 18 RecordListTooLarge,
        19 NotEnoughReplicas, 20 NotEnoughReplicasAfterAppend, 21 InvalidRequiredAcks, 22 IllegalGeneration,
        23 InconsistentGroupProtocol, 24 InvalidGroupId, 25 UnknownMemberId, 26 InvalidSessionTimeout,
        27 RebalanceInProgress, 28 InvalidCommitOffsetSize, 29 TopicAuthorizationFailed,
        30 GroupAuthorizationFailed, 31 ClusterAuthorizationFailed, 32 InvalidTimestamp,
        33 UnsupportedSaslMechanism, 34 IllegalSaslState, 35 UnsupportedVersion, 36 TopicAlreadyExists,
        37 InvalidPartitions, 38 InvalidReplicationFactor, 39 InvalidReplicaAssignment, 40 InvalidConfig,
        41 NotController, 42 InvalidRequest, 43 UnsupportedForMessageFormat, 44 PolicyViolation,
        45 OutOfOrderSequenceNumber, 46 DuplicateSequenceNumber, 47 InvalidProducerEpoch,
        48 InvalidTxnState, 49 InvalidProducerIdMapping, 50 InvalidTransactionTimeout,
        51 ConcurrentTransactions, 52 TransactionCoordinatorFenced, 53 TransactionalIdAuthorizationFailed,
        54 SecurityDisabled, 55 OperationNotAttempted, 56 KafkaStorageError, 57 LogDirNotFound,
        58 SaslAuthenticationFailed, 59 UnknownProducerId, 60 ReassignmentInProgress,
        61 DelegationTokenAuthDisabled, 62 DelegationTokenNotFound, 63 DelegationTokenOwnerMismatch,
        64 DelegationTokenRequestNotAllowed, 65 DelegationTokenAuthorizationFailed,
        66 DelegationTokenExpired, 67 InvalidPrincipalType, 68 NonEmptyGroup, 69 GroupIdNotFound,
        70 FetchSessionIdNotFound, 71 InvalidFetchSessionEpoch, 72 ListenerNotFound,
        73 TopicDeletionDisabled, 74 FencedLeaderEpoch, 75 UnknownLeaderEpoch,
        76 UnsupportedCompressionType, 77 StaleBrokerEpoch, 78 OffsetNotAvailable, 79 MemberIdRequired,
        80 PreferredLeaderNotAvailable, 81 GroupMaxSizeReached, 82 FencedInstanceId,
        83 EligibleLeadersNotAvailable, 84 ElectionNotNeeded, 85 NoReassignmentInProgress,
        86 GroupSubscribedToTopic, 87 InvalidRecord, 88 UnstableOffsetCommit, 89 ThrottlingQuotaExceeded,
        90 ProducerFenced, 91 ResourceNotFound, 92 DuplicateResource, 93 UnacceptableCredential,
        94 InconsistentVoterSet, 95 InvalidUpdateVersion, 96 FeatureUpdateFailed,
        97 PrincipalDeserializationFailure, 98 SnapshotNotFound, 99 PositionOutOfRange, 100 UnknownTopicId,
        101 DuplicateBrokerRegistration, 102 BrokerIdNotRegistered, 103 InconsistentTopicId,
        104 InconsistentClusterId, 105 TransactionalIdNotFound, 106 FetchSessionTopicIdError,
        107 IneligibleReplica, 108 NewLeaderElected, 109 OffsetMovedToTieredStorage, 110 FencedMemberEpoch,
        111 UnreleasedInstanceId, 112 UnsupportedAssignor, 113 StaleMemberEpoch, 114 MismatchedEndpointType,
        115 UnsupportedEndpointType, 116 UnknownControllerId, 117 UnknownSubscriptionId,
        118 TelemetryTooLarge, 119 InvalidRegistration, 120 TransactionAbortable, 121 InvalidRecordState,
        122 ShareSessionNotFound, 123 InvalidShareSessionEpoch, 124 FencedStateEpoch, 125 InvalidVoterKey,
        126 DuplicateVoter, 127 VoterNotFound, 128 InvalidRegularExpression, 129 RebootstrapRequired,
        130 StreamsInvalidTopology, 131 StreamsInvalidTopologyEpoch, 132 StreamsTopologyFenced,
        133 ShareSessionLimitReached
        """;

    [Fact]
    public void Api_keys_are_what_they_were() => Assert.Equal(
        Split(ApiKeys),
        Enum.GetValues<ApiKey>().Select(k => $"{(short)k} {k}"));

    [Fact]
    public void Error_codes_are_what_they_were() => Assert.Equal(
        Split(ErrorNumbers),
        Enum.GetValues<ErrorCode>().OrderBy(c => (short)c).Select(c => $"{(short)c} {c}"));

    [Fact]
    public void Every_error_code_has_the_name_that_its_member_spells()
    {
        foreach (var code in Enum.GetValues<ErrorCode>())
        {
            Assert.True(ErrorCodes.IsKnown(code));
            Assert.Equal(code.ToString(), string.Concat(ErrorCodes.Name(code).Split('_').Select(Capitalize)));
        }
    }

    [Fact]
    public void Retriable_errors_are_told_from_others()
    {
        Assert.True(ErrorCodes.IsRetriable(ErrorCode.UnknownTopicOrPartition));
        Assert.True(ErrorCodes.IsRetriable(ErrorCode.NotLeaderOrFollower));
        Assert.False(ErrorCodes.IsRetriable(ErrorCode.None));
        Assert.False(ErrorCodes.IsRetriable(ErrorCode.InvalidTopicException));
        Assert.Equal(32, Enum.GetValues<ErrorCode>().Count(ErrorCodes.IsRetriable));
    }

    [Fact]
    public void An_unknown_error_code_has_a_name_too()
    {
        Assert.Equal("ERROR_12345", ErrorCodes.Name((ErrorCode)12345));
        Assert.Equal("ERROR_-2", ErrorCodes.Name((ErrorCode)(-2)));
        Assert.False(ErrorCodes.IsRetriable((ErrorCode)(-2)));
        Assert.False(ErrorCodes.IsKnown((ErrorCode)short.MaxValue));
    }

    private static IEnumerable<string> Split(string list) =>
        list.Split([',', '\n'], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);

    private static string Capitalize(string word) => word[..1] + word[1..].ToLowerInvariant();
}
