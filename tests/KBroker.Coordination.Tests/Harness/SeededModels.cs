using System.Globalization;

namespace KBroker.Coordination.Tests.Harness;

/// <summary>Random actions on a shard, checked after each; one seed chooses them all.</summary>
internal interface ISeededModel
{
    /// <summary>What happened.</summary>
    IEnumerable<string> Story { get; }

    /// <summary>Does so many actions, and checks.</summary>
    void Run(int actions);
}

/// <summary>
/// Runs a model with one seed after the other, and names the one that fails. KBROKER_TEST_SEEDS runs that many seeds,
/// KBROKER_TEST_SEED one in particular.
/// </summary>
internal static class SeededModels
{
    public static void Run(int seeds, int actions, Func<int, ISeededModel> create)
    {
        if (Number("KBROKER_TEST_SEED") is { } chosen)
        {
            create(chosen).Run(actions);
            return;
        }

        for (var seed = 0; seed < (Number("KBROKER_TEST_SEEDS") ?? seeds); seed++)
        {
            var model = create(seed);
            try
            {
                model.Run(actions);
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
