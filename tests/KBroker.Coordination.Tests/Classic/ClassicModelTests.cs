using System.Globalization;

namespace KBroker.Coordination.Tests.Classic;

/// <summary>
/// See <see cref="ClassicModel"/>. KBROKER_TEST_SEEDS runs that many seeds, KBROKER_TEST_SEED one in particular.
/// </summary>
public sealed class ClassicModelTests
{
    private const int Actions = 250;

    [Fact]
    public void Faithful_members_never_share_a_partition_lose_no_commit_and_end_stable()
    {
        if (Number("KBROKER_TEST_SEED") is { } chosen)
        {
            new ClassicModel(chosen).Run(Actions);
            return;
        }

        for (var seed = 0; seed < (Number("KBROKER_TEST_SEEDS") ?? 40); seed++)
        {
            var model = new ClassicModel(seed);
            try
            {
                model.Run(Actions);
            }
            catch (Exception failure)
            {
                Assert.Fail($"KBROKER_TEST_SEED={seed}: {failure.Message}\n{string.Join('\n', model.Story)}");
            }
        }
    }

    private static int? Number(string name) =>
        int.TryParse(Environment.GetEnvironmentVariable(name), CultureInfo.InvariantCulture, out var value)
            ? value
            : null;
}
