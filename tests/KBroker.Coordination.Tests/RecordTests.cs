using KBroker.Coordination.Runtime;
using KBroker.Protocol.Messages;

namespace KBroker.Coordination.Tests;

public sealed class RecordTests
{
    [Fact]
    public void A_tombstone_has_a_key_and_no_value()
    {
        var key = new GroupMetadataKey { Group = "g" };
        var tombstone = CoordinatorRecord.Tombstone(key);
        Assert.Same(key, tombstone.Key);
        Assert.Null(tombstone.Value);
    }
}
