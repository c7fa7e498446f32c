using KBroker.Coordination.Groups.Consumer;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using static KBroker.Coordination.Tests.Consumer.ConsumerDriver;

namespace KBroker.Coordination.Tests.Consumer;

public sealed class HeartbeatRequestCheckTests
{
    [Theory]
    [InlineData("", "m", 1, "GroupId can't be empty.")]
    [InlineData(" ", "m", 1, "GroupId can't be empty.")]
    [InlineData("g", "", 1, "MemberId can't be empty.")]
    [InlineData("g", "", 0, "MemberId can't be empty.")]
    [InlineData("g", "", -1, "MemberId can't be empty.")]
    [InlineData("g", "m", -2, "InstanceId can't be null.")]
    [InlineData("g", "m", -3, "MemberEpoch is invalid.")]
    public void What_does_not_make_sense_is_refused(string groupId, string memberId, int epoch, string message)
    {
        var refusal = Refused(ErrorCode.InvalidRequest, () => Check(new()
        {
            GroupId = groupId,
            MemberId = memberId,
            MemberEpoch = epoch,
            RebalanceTimeoutMs = 1,
            TopicPartitions = [],
            SubscribedTopicNames = [],
        }));
        Assert.Equal(message, refusal.ClientMessage);
    }

    [Fact]
    public void A_version_zero_client_may_join_without_member_id()
    {
        Check(new() { GroupId = "g", RebalanceTimeoutMs = 1, TopicPartitions = [], SubscribedTopicNames = [] }, 0);
        Refused(ErrorCode.InvalidRequest, () => Check(new() { GroupId = "g", MemberEpoch = 1 }, 0));
        Refused(ErrorCode.InvalidRequest, () => Check(new() { GroupId = "g", MemberEpoch = -1 }, 0));
    }

    [Fact]
    public void A_first_request_says_everything()
    {
        var cases = new (ConsumerGroupHeartbeatRequest Message, string Error)[]
        {
            (new() { TopicPartitions = [], SubscribedTopicNames = [] },
                "RebalanceTimeoutMs must be provided in first request."),
            (new() { RebalanceTimeoutMs = 1, SubscribedTopicNames = [] },
                "TopicPartitions must be empty when (re-)joining."),
            (new() { RebalanceTimeoutMs = 1, TopicPartitions = Own("t", 0), SubscribedTopicNames = [] },
                "TopicPartitions must be empty when (re-)joining."),
            (new() { RebalanceTimeoutMs = 1, TopicPartitions = [] },
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining."),
            (new() { InstanceId = "", RebalanceTimeoutMs = 1, TopicPartitions = [], SubscribedTopicNames = [] },
                "InstanceId can't be empty."),
            (new() { RackId = "", RebalanceTimeoutMs = 1, TopicPartitions = [], SubscribedTopicNames = [] },
                "RackId can't be empty."),
        };
        foreach (var (message, error) in cases)
        {
            (message.GroupId, message.MemberId) = ("g", "m");
            Assert.Equal(error, Refused(ErrorCode.InvalidRequest, () => Check(message)).ClientMessage);
        }

        Check(new()
        {
            GroupId = "g",
            MemberId = "m",
            RebalanceTimeoutMs = 1,
            TopicPartitions = [],
            SubscribedTopicRegex = "x",
        });
    }

    [Fact]
    public void An_assignor_that_the_broker_does_not_have_is_refused()
    {
        var refusal = Refused(ErrorCode.UnsupportedAssignor, () => Check(
            new() { GroupId = "g", MemberId = "m", MemberEpoch = 1, ServerAssignor = "sticky" }));
        Assert.Equal(
            "ServerAssignor sticky is not supported. Supported assignors: uniform, range.", refusal.ClientMessage);
    }

    private static void Check(ConsumerGroupHeartbeatRequest message, short version = 1) =>
        HeartbeatRequestCheck.Check(message, version, ["uniform", "range"]);
}
