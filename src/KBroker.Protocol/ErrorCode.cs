namespace KBroker.Protocol;

/// <summary>What went wrong, as every response says it. The numbers are the protocol's and never change.</summary>
public enum ErrorCode : short
{
    /// <summary>Something failed that no other code describes; the broker's log has the cause.</summary>
    UnknownServerError = -1,

    /// <summary>No error.</summary>
    None = 0,

    /// <summary>The offset is below the log's start or beyond its end.</summary>
    OffsetOutOfRange = 1,

    /// <summary>The bytes of a record batch do not match its checksum, or its lengths do not hold.</summary>
    CorruptMessage = 2,

    /// <summary>The broker does not know the topic or the partition, or does not host it.</summary>
    UnknownTopicOrPartition = 3,

    /// <summary>The fetch size is negative or otherwise impossible.</summary>
    InvalidFetchSize = 4,

    /// <summary>The partition has no leader at the moment.</summary>
    LeaderNotAvailable = 5,

    /// <summary>The broker is not the leader of the partition, or not a replica that may serve the request.</summary>
    NotLeaderOrFollower = 6,

    /// <summary>The time the client allowed passed before the request was done.</summary>
    RequestTimedOut = 7,

    /// <summary>The broker is not available.</summary>
    BrokerNotAvailable = 8,

    /// <summary>The replica is not available on this broker.</summary>
    ReplicaNotAvailable = 9,

    /// <summary>A record batch is larger than the topic allows.</summary>
    MessageTooLarge = 10,

    /// <summary>The controller epoch of the request is old.</summary>
    StaleControllerEpoch = 11,

    /// <summary>The metadata stored with an offset is too long.</summary>
    OffsetMetadataTooLarge = 12,

    /// <summary>The connection ended before an answer; used by clients, never sent.</summary>
    NetworkException = 13,

    /// <summary>The coordinator still loads its state.</summary>
    CoordinatorLoadInProgress = 14,

    /// <summary>There is no coordinator yet, or it is not reachable.</summary>
    CoordinatorNotAvailable = 15,

    /// <summary>The broker does not coordinate this group or transactional id.</summary>
    NotCoordinator = 16,

    /// <summary>The topic's name is not allowed, or the operation is not allowed on this topic.</summary>
    InvalidTopicException = 17,

    /// <summary>The records of one request are larger than a segment.</summary>
    RecordListTooLarge = 18,

    /// <summary>Fewer replicas are in sync than min.insync.replicas demands; nothing was written.</summary>
    NotEnoughReplicas = 19,

    /// <summary>The records were written, but then too few replicas were in sync.</summary>
    NotEnoughReplicasAfterAppend = 20,

    /// <summary>Acks is not -1, 0 or 1.</summary>
    InvalidRequiredAcks = 21,

    /// <summary>The generation of the request is not the group's.</summary>
    IllegalGeneration = 22,

    /// <summary>The member's protocols have nothing in common with the group's.</summary>
    InconsistentGroupProtocol = 23,

    /// <summary>The group id is empty or otherwise not allowed.</summary>
    InvalidGroupId = 24,

    /// <summary>The group does not know this member id.</summary>
    UnknownMemberId = 25,

    /// <summary>The session timeout is outside the broker's bounds.</summary>
    InvalidSessionTimeout = 26,

    /// <summary>The group rebalances; the member has to join again.</summary>
    RebalanceInProgress = 27,

    /// <summary>The offsets of one commit are too large.</summary>
    InvalidCommitOffsetSize = 28,

    /// <summary>The principal may not do this with the topic.</summary>
    TopicAuthorizationFailed = 29,

    /// <summary>The principal may not do this with the group.</summary>
    GroupAuthorizationFailed = 30,

    /// <summary>The principal may not do this with the cluster.</summary>
    ClusterAuthorizationFailed = 31,

    /// <summary>A record's timestamp is outside what the topic allows.</summary>
    InvalidTimestamp = 32,

    /// <summary>The broker does not offer this SASL mechanism.</summary>
    UnsupportedSaslMechanism = 33,

    /// <summary>The request does not fit the state of the SASL exchange.</summary>
    IllegalSaslState = 34,

    /// <summary>The broker does not serve this version of the API.</summary>
    UnsupportedVersion = 35,

    /// <summary>A topic of this name exists, or its name collides with one that does.</summary>
    TopicAlreadyExists = 36,

    /// <summary>The number of partitions is not allowed.</summary>
    InvalidPartitions = 37,

    /// <summary>The replication factor is below 1 or above the number of brokers.</summary>
    InvalidReplicationFactor = 38,

    /// <summary>The assignment of replicas is not possible.</summary>
    InvalidReplicaAssignment = 39,

    /// <summary>A configuration key or value is not allowed.</summary>
    InvalidConfig = 40,

    /// <summary>This node is not the active controller.</summary>
    NotController = 41,

    /// <summary>The request contradicts itself or breaks a rule; the message says which.</summary>
    InvalidRequest = 42,

    /// <summary>The log's message format does not support the request.</summary>
    UnsupportedForMessageFormat = 43,

    /// <summary>A policy of the broker forbids the change.</summary>
    PolicyViolation = 44,

    /// <summary>A producer's sequence number does not follow the last one.</summary>
    OutOfOrderSequenceNumber = 45,

    /// <summary>A producer's sequence number was already written.</summary>
    DuplicateSequenceNumber = 46,

    /// <summary>The producer's epoch is older than the newest one.</summary>
    InvalidProducerEpoch = 47,

    /// <summary>The transaction's state does not allow the request.</summary>
    InvalidTxnState = 48,

    /// <summary>The producer id does not belong to the transactional id.</summary>
    InvalidProducerIdMapping = 49,

    /// <summary>The transaction timeout is above the broker's maximum.</summary>
    InvalidTransactionTimeout = 50,

    /// <summary>An earlier step of the same transactional id has not finished.</summary>
    ConcurrentTransactions = 51,

    /// <summary>A newer transaction coordinator has taken over.</summary>
    TransactionCoordinatorFenced = 52,

    /// <summary>The principal may not use the transactional id.</summary>
    TransactionalIdAuthorizationFailed = 53,

    /// <summary>Security features are off on this broker.</summary>
    SecurityDisabled = 54,

    /// <summary>The request was refused as a whole, so this part was not tried.</summary>
    OperationNotAttempted = 55,

    /// <summary>A log directory failed while the request was served.</summary>
    KafkaStorageError = 56,

    /// <summary>The broker has no such log directory.</summary>
    LogDirNotFound = 57,

    /// <summary>Authentication failed.</summary>
    SaslAuthenticationFailed = 58,

    /// <summary>The broker keeps no state of this producer id any more.</summary>
    UnknownProducerId = 59,

    /// <summary>The partition is already being moved.</summary>
    ReassignmentInProgress = 60,

    /// <summary>Delegation tokens are off on this broker.</summary>
    DelegationTokenAuthDisabled = 61,

    /// <summary>There is no such delegation token.</summary>
    DelegationTokenNotFound = 62,

    /// <summary>The principal neither owns nor may renew the delegation token.</summary>
    DelegationTokenOwnerMismatch = 63,

    /// <summary>Delegation tokens cannot be requested over this kind of connection.</summary>
    DelegationTokenRequestNotAllowed = 64,

    /// <summary>The principal may not do this with the delegation token.</summary>
    DelegationTokenAuthorizationFailed = 65,

    /// <summary>The delegation token has expired.</summary>
    DelegationTokenExpired = 66,

    /// <summary>The type of the principal is not supported.</summary>
    InvalidPrincipalType = 67,

    /// <summary>The group still has members.</summary>
    NonEmptyGroup = 68,

    /// <summary>There is no such group.</summary>
    GroupIdNotFound = 69,

    /// <summary>The broker does not know the fetch session; it was evicted or never existed.</summary>
    FetchSessionIdNotFound = 70,

    /// <summary>The epoch of the fetch session is not the expected one.</summary>
    InvalidFetchSessionEpoch = 71,

    /// <summary>The leader has no listener of the name the client came through.</summary>
    ListenerNotFound = 72,

    /// <summary>Deleting topics is off on this broker.</summary>
    TopicDeletionDisabled = 73,

    /// <summary>The leader epoch of the request is older than the broker's.</summary>
    FencedLeaderEpoch = 74,

    /// <summary>The leader epoch of the request is newer than the broker's.</summary>
    UnknownLeaderEpoch = 75,

    /// <summary>The client's version of the API does not support the codec, or this machine lacks it.</summary>
    UnsupportedCompressionType = 76,

    /// <summary>The broker epoch is not the one of the broker's registration.</summary>
    StaleBrokerEpoch = 77,

    /// <summary>The leader is not yet sure of its high watermark.</summary>
    OffsetNotAvailable = 78,

    /// <summary>The member has to join again, with the id in this answer.</summary>
    MemberIdRequired = 79,

    /// <summary>The preferred leader is not available for election.</summary>
    PreferredLeaderNotAvailable = 80,

    /// <summary>The group has as many members as it may have.</summary>
    GroupMaxSizeReached = 81,

    /// <summary>Another member with the same instance id took over.</summary>
    FencedInstanceId = 82,

    /// <summary>No eligible leader is available for election.</summary>
    EligibleLeadersNotAvailable = 83,

    /// <summary>The partition already has the leader the election would choose.</summary>
    ElectionNotNeeded = 84,

    /// <summary>There is no move of the partition to cancel.</summary>
    NoReassignmentInProgress = 85,

    /// <summary>The group is subscribed to the topic, so its offset cannot be deleted.</summary>
    GroupSubscribedToTopic = 86,

    /// <summary>A record breaks a rule; the answer may say which record and which rule.</summary>
    InvalidRecord = 87,

    /// <summary>Offsets of a running transaction are not decided yet.</summary>
    UnstableOffsetCommit = 88,

    /// <summary>The client changes metadata faster than its quota allows.</summary>
    ThrottlingQuotaExceeded = 89,

    /// <summary>A newer producer with the same transactional id took over.</summary>
    ProducerFenced = 90,

    /// <summary>There is no such resource.</summary>
    ResourceNotFound = 91,

    /// <summary>The request names a resource twice.</summary>
    DuplicateResource = 92,

    /// <summary>The credential breaks a rule.</summary>
    UnacceptableCredential = 93,

    /// <summary>The voters in the request are not the quorum's.</summary>
    InconsistentVoterSet = 94,

    /// <summary>The version in the update is not the one expected.</summary>
    InvalidUpdateVersion = 95,

    /// <summary>The features could not be updated.</summary>
    FeatureUpdateFailed = 96,

    /// <summary>The principal inside a forwarded request cannot be read.</summary>
    PrincipalDeserializationFailure = 97,

    /// <summary>There is no such snapshot.</summary>
    SnapshotNotFound = 98,

    /// <summary>The position lies outside the snapshot.</summary>
    PositionOutOfRange = 99,

    /// <summary>The broker does not know the topic id.</summary>
    UnknownTopicId = 100,

    /// <summary>Another broker with this id is registered and alive.</summary>
    DuplicateBrokerRegistration = 101,

    /// <summary>No broker with this id is registered.</summary>
    BrokerIdNotRegistered = 102,

    /// <summary>The topic id of the request is not the one of the topic on disk.</summary>
    InconsistentTopicId = 103,

    /// <summary>The cluster id of the request is not this cluster's.</summary>
    InconsistentClusterId = 104,

    /// <summary>There is no such transactional id.</summary>
    TransactionalIdNotFound = 105,

    /// <summary>The fetch session mixes requests with and without topic ids.</summary>
    FetchSessionTopicIdError = 106,

    /// <summary>The replica may not join the in-sync replicas.</summary>
    IneligibleReplica = 107,

    /// <summary>The change made another replica the leader.</summary>
    NewLeaderElected = 108,

    /// <summary>The offset has moved to remote storage.</summary>
    OffsetMovedToTieredStorage = 109,

    /// <summary>The member's epoch is not current; it has to join again.</summary>
    FencedMemberEpoch = 110,

    /// <summary>The instance id is still in use by another member.</summary>
    UnreleasedInstanceId = 111,

    /// <summary>The group does not have this assignor.</summary>
    UnsupportedAssignor = 112,

    /// <summary>The member's epoch is old; retry with the newest.</summary>
    StaleMemberEpoch = 113,

    /// <summary>The request came to the wrong kind of node: broker or controller.</summary>
    MismatchedEndpointType = 114,

    /// <summary>The type of endpoint is not supported.</summary>
    UnsupportedEndpointType = 115,

    /// <summary>The controller id is not known.</summary>
    UnknownControllerId = 116,

    /// <summary>The telemetry subscription is not the current one.</summary>
    UnknownSubscriptionId = 117,

    /// <summary>The metrics are larger than the broker takes.</summary>
    TelemetryTooLarge = 118,

    /// <summary>The controller holds the broker's registration to be invalid.</summary>
    InvalidRegistration = 119,

    /// <summary>The transaction can no longer commit; the producer has to abort it.</summary>
    TransactionAbortable = 120,

    /// <summary>The record's state does not allow the acknowledgement.</summary>
    InvalidRecordState = 121,

    /// <summary>The broker does not know the share session.</summary>
    ShareSessionNotFound = 122,

    /// <summary>The epoch of the share session is not the expected one.</summary>
    InvalidShareSessionEpoch = 123,

    /// <summary>The state epoch is older than the share coordinator's.</summary>
    FencedStateEpoch = 124,

    /// <summary>The voter's id and directory do not match those of the quorum.</summary>
    InvalidVoterKey = 125,

    /// <summary>The voter already is in the quorum.</summary>
    DuplicateVoter = 126,

    /// <summary>The voter is not in the quorum.</summary>
    VoterNotFound = 127,

    /// <summary>The regular expression cannot be parsed.</summary>
    InvalidRegularExpression = 128,

    /// <summary>The client has to find its brokers anew, from its bootstrap list.</summary>
    RebootstrapRequired = 129,

    /// <summary>The streams topology is not valid.</summary>
    StreamsInvalidTopology = 130,

    /// <summary>The epoch of the streams topology is not valid.</summary>
    StreamsInvalidTopologyEpoch = 131,

    /// <summary>The epoch of the streams topology is older than the group's.</summary>
    StreamsTopologyFenced = 132,

    /// <summary>The broker has as many share sessions as it may have.</summary>
    ShareSessionLimitReached = 133,
}
