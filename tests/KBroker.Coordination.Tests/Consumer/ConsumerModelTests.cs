using KBroker.Coordination.Tests.Harness;

namespace KBroker.Coordination.Tests.Consumer;

/// <summary>See <see cref="ConsumerModel"/> and <see cref="SeededModels"/>.</summary>
public sealed class ConsumerModelTests
{
    [Fact]
    public void Faithful_members_never_share_a_partition_and_end_stable_with_everything_assigned() =>
        SeededModels.Run(seeds: 60, actions: 300, static seed => new ConsumerModel(seed));
}
