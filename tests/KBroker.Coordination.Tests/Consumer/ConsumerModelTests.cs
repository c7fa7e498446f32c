using System.Globalization;

namespace KBroker.Coordination.Tests.Consumer;

/// <summary>
/// See <see cref="ConsumerModel"/>. KBROKER_TEST_SEEDS runs that many seeds, KBROKER_TEST_SEED one in particular.
/// </summary>
public sealed class ConsumerModelTests
{
    private const int Actions = 300;

    [Fact]
    public void Faithful_members_never_share_a_partition_and_end_stable_with_everything_assigned()
    {
        if (Number("KBROKER_TEST_SEED") is { } chosen)
        {
            new ConsumerModel(chosen).Run(Actions);
            return;
        }

        for (var seed = 0; seed < (Number("KBROKER_TEST_SEEDS") ?? 60); seed++)
        {
            var model = new ConsumerModel(seed);
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
