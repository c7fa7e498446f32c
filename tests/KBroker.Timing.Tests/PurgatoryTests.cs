namespace KBroker.Timing.Tests;

public sealed class PurgatoryTests : IDisposable
{
    private readonly ManualTimeProvider _time = new();
    private readonly SystemTimer _timer;
    private readonly Purgatory<string> _purgatory;

    public PurgatoryTests()
    {
        _timer = new SystemTimer(_time, new InlineExecutor());
        _purgatory = new Purgatory<string>("Test", _timer);
    }

    public void Dispose()
    {
        _purgatory.Dispose();
        _timer.Dispose();
    }

    [Fact]
    public void An_operation_whose_condition_holds_completes_at_once_and_leaves_no_trace()
    {
        var operation = new ProbeOperation(100, () => true);
        Assert.True(_purgatory.TryCompleteElseWatch(operation, "a", "b"));
        Assert.Equal(1, operation.Completions);
        AssertEmpty();
        _time.AdvanceMs(1000);
        Assert.Equal(0, operation.Expirations);
    }

    [Fact]
    public void A_signal_completes_the_operations_of_its_key_whose_condition_holds()
    {
        var ready = false;
        var first = new ProbeOperation(100, () => ready);
        var second = new ProbeOperation(100, () => false);
        Assert.False(_purgatory.TryCompleteElseWatch(first, "a", "b"));
        Assert.False(_purgatory.TryCompleteElseWatch(second, "a"));
        AssertCounts(watched: 3, delayed: 2);

        ready = true;
        Assert.Equal(0, _purgatory.CheckAndComplete("c"));
        Assert.Equal(1, _purgatory.CheckAndComplete("a"));
        Assert.Equal(1, first.Completions);
        Assert.Equal(0, second.Completions);
        Assert.False(first.IsExpired);
        AssertCounts(watched: 1, delayed: 1);
        Assert.Equal(0, _purgatory.CheckAndComplete("b"));
    }

    [Fact]
    public void The_operation_is_tried_once_more_after_it_watches()
    {
        var tries = 0;
        var operation = new ProbeOperation(100, () => ++tries == 2);
        Assert.True(_purgatory.TryCompleteElseWatch(operation, "a"));
        Assert.Equal(1, operation.Completions);
        AssertEmpty();
    }

    [Fact]
    public void Expiry_completes_what_no_signal_completed()
    {
        var expiredInside = false;
        ProbeOperation operation = null!;
        operation = new ProbeOperation(100, () => false, () => expiredInside = operation.IsExpired);
        _purgatory.TryCompleteElseWatch(operation, "a", "b");
        _time.AdvanceMs(99);
        Assert.False(operation.IsCompleted);
        _time.AdvanceMs(1);
        Assert.True(operation.IsCompleted);
        Assert.True(expiredInside);
        Assert.Equal(1, operation.Completions);
        Assert.Equal(1, operation.Expirations);
        AssertEmpty();
        Assert.False(operation.ForceComplete());
    }

    [Fact]
    public void An_operation_without_keys_waits_for_its_delay_and_one_without_a_delay_expires_at_once()
    {
        var keyless = new ProbeOperation(10, () => false);
        Assert.False(_purgatory.TryCompleteElseWatch(keyless));
        AssertCounts(watched: 0, delayed: 1);
        _time.AdvanceMs(10);
        Assert.True(keyless.IsExpired);

        var immediate = new ProbeOperation(0, () => false);
        Assert.False(_purgatory.TryCompleteElseWatch(immediate, "a"));
        Assert.True(immediate.IsExpired);
        AssertEmpty();
    }

    [Fact]
    public void Force_from_outside_ends_the_wait_everywhere()
    {
        var operation = new ProbeOperation(100, () => false);
        _purgatory.TryCompleteElseWatch(operation, "a", "b", "a");
        AssertCounts(watched: 3, delayed: 1);
        Assert.True(operation.ForceComplete());
        Assert.False(operation.ForceComplete());
        AssertEmpty();
        _time.AdvanceMs(1000);
        Assert.Equal(1, operation.Completions);
        Assert.Equal(0, operation.Expirations);
    }

    [Fact]
    public void Signals_try_the_oldest_first_and_many_of_them()
    {
        var order = new List<int>();
        var open = false;
        for (var i = 0; i < 100; i++)
        {
            var id = i;
            _purgatory.TryCompleteElseWatch(new ProbeOperation(100, () => open, () => order.Add(id)), "a");
        }

        open = true;
        Assert.Equal(100, _purgatory.CheckAndComplete("a"));
        Assert.Equal(Enumerable.Range(0, 100), order);
        AssertEmpty();
    }

    [Fact]
    public void Watches_leave_from_the_head_the_middle_and_the_tail()
    {
        foreach (var order in new[] { new[] { 0, 1, 2 }, [2, 1, 0], [1, 0, 2], [1, 2, 0], [0, 2, 1], [2, 0, 1] })
        {
            var tried = new List<int>();
            var operations = Enumerable.Range(0, 3).Select(i => new ProbeOperation(100, () =>
            {
                tried.Add(i);
                return false;
            })).ToArray();
            foreach (var operation in operations)
                _purgatory.TryCompleteElseWatch(operation, "a");
            var left = new List<int> { 0, 1, 2 };
            foreach (var id in order)
            {
                operations[id].ForceComplete();
                left.Remove(id);
                tried.Clear();
                _purgatory.CheckAndComplete("a");
                Assert.Equal(left, tried);
            }

            AssertEmpty();
        }
    }

    [Fact]
    public void Cancelling_a_key_hands_its_operations_back_uncompleted()
    {
        var both = new ProbeOperation(100, () => false);
        var one = new ProbeOperation(100, () => false);
        var other = new ProbeOperation(100, () => false);
        _purgatory.TryCompleteElseWatch(both, "a", "b", "a");
        _purgatory.TryCompleteElseWatch(one, "a");
        _purgatory.TryCompleteElseWatch(other, "b");

        Assert.Equal([both, one], _purgatory.CancelForKey("a"));
        Assert.Empty(_purgatory.CancelForKey("a"));
        AssertCounts(watched: 1, delayed: 1);
        _time.AdvanceMs(200);
        Assert.Equal([0, 0, 1], new[] { both, one, other }.Select(operation => operation.Completions));

        Assert.True(both.ForceComplete());
        Assert.False(_purgatory.TryCompleteElseWatch(one, "c"));
        AssertCounts(watched: 1, delayed: 1);
        _time.AdvanceMs(100);
        Assert.True(one.IsExpired);
        AssertEmpty();
    }

    [Fact]
    public void An_operation_waits_in_one_purgatory_and_once()
    {
        using var second = new Purgatory<string>("Second", _timer);
        var operation = new ProbeOperation(100, () => false);
        _purgatory.TryCompleteElseWatch(operation, "a");
        Assert.Throws<InvalidOperationException>(() => _purgatory.TryCompleteElseWatch(operation, "a"));
        Assert.Throws<InvalidOperationException>(() => second.TryCompleteElseWatch(operation, "a"));
        AssertCounts(watched: 1, delayed: 1);
        Assert.Equal(0, second.Delayed);
    }

    [Fact]
    public void Callbacks_may_signal_their_own_and_other_keys_and_add_operations()
    {
        var open = false;
        var late = new ProbeOperation(100, () => false);
        var first = new ProbeOperation(100, () => open, () => _purgatory.CheckAndComplete("b"));
        var second = new ProbeOperation(100, () => open, () =>
        {
            _purgatory.CheckAndComplete("a");
            _purgatory.CheckAndComplete("b");
            _purgatory.TryCompleteElseWatch(late, "a");
        });
        _purgatory.TryCompleteElseWatch(first, "a");
        _purgatory.TryCompleteElseWatch(second, "b");
        open = true;
        Assert.Equal(1, _purgatory.CheckAndComplete("a"));
        Assert.Equal(1, first.Completions);
        Assert.Equal(1, second.Completions);
        AssertCounts(watched: 1, delayed: 1);
    }

    [Fact]
    public void A_try_that_throws_costs_the_others_nothing_and_may_succeed_later()
    {
        var open = false;
        var broken = false;
        var operation = new ProbeOperation(
            100, () => broken ? throw new InvalidOperationException("broken") : open);
        var other = new ProbeOperation(100, () => open);
        _purgatory.TryCompleteElseWatch(operation, "a");
        _purgatory.TryCompleteElseWatch(other, "a");
        (open, broken) = (true, true);
        Assert.Throws<InvalidOperationException>(() => _purgatory.CheckAndComplete("a"));
        Assert.True(other.IsCompleted);
        broken = false;
        Assert.Equal(1, _purgatory.CheckAndComplete("a"));
        AssertEmpty();

        var never = new ProbeOperation(100, () => throw new InvalidOperationException("broken"));
        Assert.Throws<InvalidOperationException>(() => _purgatory.TryCompleteElseWatch(never, "a"));
        AssertEmpty();
    }

    [Fact]
    public void On_a_disposed_timer_nothing_waits()
    {
        _timer.Dispose();
        var operation = new ProbeOperation(100, () => false);
        Assert.Throws<ObjectDisposedException>(() => _purgatory.TryCompleteElseWatch(operation, "a"));
        AssertEmpty();
        Assert.True(_purgatory.TryCompleteElseWatch(new ProbeOperation(100, () => true), "a"));
    }

    [Fact]
    public void All_can_be_completed_for_a_stop()
    {
        var operations = Enumerable.Range(0, 200).Select(_ => new ProbeOperation(100, () => false)).ToArray();
        for (var i = 0; i < operations.Length; i++)
            _purgatory.TryCompleteElseWatch(operations[i], $"k{i % 30}", $"l{i % 7}");
        Assert.Equal(200, _purgatory.CompleteAll());
        Assert.All(operations, operation => Assert.Equal(1, operation.Completions));
        AssertEmpty();
    }

    [Fact]
    public void A_wait_costs_the_operation_and_its_watches_and_a_signal_costs_nothing()
    {
        var closed = new ProbeOperation(1000, () => false);
        var closed2 = new ProbeOperation(1000, () => false);
        _purgatory.TryCompleteElseWatch(closed, "a", "b");
        _purgatory.TryCompleteElseWatch(closed2, "b");
        Measure(1, () => _purgatory.CheckAndComplete("a"), bytesMax: 0);
        Measure(1, () => _purgatory.CheckAndComplete("b"), bytesMax: 0);
        Measure(1, () => _purgatory.CheckAndComplete("nobody"), bytesMax: 0);

        // Two watches of 72 bytes each on 64 bit; the operations exist before.
        var operations = new Queue<ProbeOperation>(
            Enumerable.Range(0, 300).Select(_ => new ProbeOperation(1000, () => false)));
        Measure(
            100,
            () =>
            {
                var operation = operations.Dequeue();
                _purgatory.TryCompleteElseWatch(operation, "x", "y");
                operation.ForceComplete();
            },
            bytesMax: 2 * 72);
    }

    private static void Measure(int times, Action action, long bytesMax)
    {
        for (var i = 0; i < times; i++)
            action();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < times; i++)
            action();
        Assert.InRange((GC.GetAllocatedBytesForCurrentThread() - before) / times, 0, bytesMax);
    }

    private void AssertEmpty() => AssertCounts(0, 0);

    private void AssertCounts(int watched, int delayed)
    {
        Assert.Equal(watched, _purgatory.Watched);
        Assert.Equal(delayed, _purgatory.Delayed);
        Assert.Equal(delayed, _timer.Count);
    }
}
