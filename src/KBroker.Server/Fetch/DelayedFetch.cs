using KBroker.Timing;

namespace KBroker.Server.Fetch;

/// <summary>
/// A long poll: done when the partitions hold enough bytes, when one of them fails, when the client's time is up, or
/// when the broker stops. Its result is the plan to answer with.
/// </summary>
/// <param name="planner">Plans the answer.</param>
/// <param name="fetch">The partitions; an incremental fetch looks at those alone that have something to tell.</param>
/// <param name="limits">The request's limits.</param>
/// <param name="maxWaitMs">How long the client waits, in milliseconds.</param>
internal sealed class DelayedFetch(
    FetchPlanner planner, FetchContext fetch, FetchLimits limits, int maxWaitMs)
    : AsyncDelayedOperation<FetchPlan>(maxWaitMs)
{
    private readonly Lock _lock = new();
    private FetchPlan? _plan;
    private bool _isOver;

    public override bool TryComplete()
    {
        // The end of the time may come during an attempt; then it waits, because a plan takes partitions from the
        // session.
        lock (_lock)
        {
            if (_isOver || (!fetch.IsIncremental && !planner.MayHaveNews(fetch.Partitions, limits.Limit)))
                return false;
            var plan = planner.Plan(fetch, limits);
            if (plan.Bytes < limits.MinBytes && !plan.MustAnswerNow)
            {
                plan.Release();
                return false;
            }

            // Whoever completes the operation, this attempt or the end of the time: either takes a plan.
            _plan = plan;
            if (ForceComplete())
                return true;
            _plan = null;
            plan.Release();
            return false;
        }
    }

    protected override FetchPlan CreateResult()
    {
        lock (_lock)
        {
            _isOver = true;
            var plan = _plan ?? planner.Plan(fetch, limits);
            _plan = null;
            return plan;
        }
    }
}
