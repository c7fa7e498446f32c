using KBroker.Coordination.Tests.Harness;

namespace KBroker.Coordination.Tests.Classic;

/// <summary>See <see cref="ClassicModel"/> and <see cref="SeededModels"/>.</summary>
public sealed class ClassicModelTests
{
    [Fact]
    public void Faithful_members_never_share_a_partition_lose_no_commit_and_end_stable() =>
        SeededModels.Run(seeds: 40, actions: 250, static seed => new ClassicModel(seed));
}
