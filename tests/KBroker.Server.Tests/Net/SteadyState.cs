namespace KBroker.Server.Tests.Net;

/// <summary>What the whole process allocates for one request once its code is compiled to the end.</summary>
internal static class SteadyState
{
    private const int MaxRounds = 20;

    /// <summary>
    /// Runs requests until a round of them keeps the budget, and returns what one of the best round allocated. The
    /// first rounds may run code that is not optimised yet, which allocates more; on a busy machine the compiler comes
    /// late, so no number of requests surely warms up. What is allocated in every round is over the budget in each.
    /// </summary>
    /// <param name="warmUp">Requests before the first round.</param>
    /// <param name="count">Requests of a round.</param>
    /// <param name="run">Runs requests: the number of the first one, and how many.</param>
    /// <param name="budgetBytes">What ends the search.</param>
    public static double BytesEach(int warmUp, int count, Action<int, int> run, double budgetBytes)
    {
        run(0, warmUp);
        var least = double.MaxValue;
        for (var round = 0; round < MaxRounds && least > budgetBytes; round++)
        {
            var before = GC.GetTotalAllocatedBytes(precise: true);
            run(warmUp + (round * count), count);
            least = Math.Min(least, (GC.GetTotalAllocatedBytes(precise: true) - before) / (double)count);
        }

        return least;
    }
}
