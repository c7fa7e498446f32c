using KBroker.Timing;

namespace KBroker.Server.Fetch;

/// <summary>
/// A long poll: done when the partitions hold enough bytes, when one of them fails, when the client's time is up, or
/// when the broker stops. Its result is the plan to answer with.
/// </summary>
/// <param name="planner">Plans the answer.</param>
/// <param name="wanted">The partitions, in the order of service.</param>
/// <param name="limits">The request's limits.</param>
/// <param name="maxWaitMs">How long the client waits, in milliseconds.</param>
internal sealed class DelayedFetch(
    FetchPlanner planner, FetchPartitionState[] wanted, FetchLimits limits, int maxWaitMs)
    : AsyncDelayedOperation<FetchPlan>(maxWaitMs)
{
    private FetchPlan? _plan;

    public override bool TryComplete()
    {
        if (!planner.MayHaveNews(wanted, limits.Limit))
            return false;
        var plan = planner.Plan(wanted, limits);
        if (plan.Bytes < limits.MinBytes && !plan.MustAnswerNow)
        {
            plan.Release();
            return false;
        }

        // Whoever completes the operation, this attempt or the end of the time, takes the plan; else it is given up.
        Volatile.Write(ref _plan, plan);
        if (ForceComplete())
            return true;
        Interlocked.Exchange(ref _plan, null)?.Release();
        return false;
    }

    protected override FetchPlan CreateResult() =>
        Interlocked.Exchange(ref _plan, null) ?? planner.Plan(wanted, limits);
}
