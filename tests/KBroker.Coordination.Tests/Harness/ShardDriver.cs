using KBroker.Coordination.Groups;
using Microsoft.Extensions.Logging.Abstractions;

namespace KBroker.Coordination.Tests.Harness;

/// <summary>Drives a shard of groups; member ids are <c>uuid-1</c>, <c>uuid-2</c>, ...</summary>
internal sealed class ShardDriver(params (string Name, string Value)[] brokerConfigs)
    : StateDriver<GroupShard>(brokerConfigs)
{
    private int _uuids;

    protected override GroupShard Create() => new(new GroupShardOptions
    {
        Configs = Configs,
        NewUuid = () => $"uuid-{++_uuids}",
        Logger = NullLogger.Instance,
    });
}
