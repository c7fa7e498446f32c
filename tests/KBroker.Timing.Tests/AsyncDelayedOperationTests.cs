namespace KBroker.Timing.Tests;

public sealed class AsyncDelayedOperationTests : IDisposable
{
    private readonly ManualTimeProvider _time = new();
    private readonly SystemTimer _timer;
    private readonly Purgatory<string> _purgatory;

    public AsyncDelayedOperationTests()
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
    public async Task The_answer_comes_at_once_when_the_condition_holds()
    {
        var answer = _purgatory.WaitAsync(new Wait(100, () => true), "a");
        Assert.True(answer.IsCompletedSuccessfully);
        Assert.Equal("met", await answer);
    }

    [Fact]
    public async Task The_answer_comes_with_the_signal()
    {
        var open = false;
        var answer = _purgatory.WaitAsync(new Wait(100, () => open), "a").AsTask();
        Assert.False(answer.IsCompleted);
        open = true;
        Assert.Equal(1, _purgatory.CheckAndComplete("a"));
        Assert.Equal("met", await answer.WaitAsync(TimeSpan.FromSeconds(30)));
    }

    [Fact]
    public async Task The_answer_comes_with_the_time_out()
    {
        var answer = _purgatory.WaitAsync(new Wait(100, () => false), "a").AsTask();
        _time.AdvanceMs(100);
        Assert.Equal("expired", await answer.WaitAsync(TimeSpan.FromSeconds(30)));
    }

    [Fact]
    public async Task An_exception_in_the_making_of_the_answer_reaches_the_one_who_waits()
    {
        var answer = _purgatory.WaitAsync(new Wait(100, () => true, broken: true), "a");
        var exception = await Assert.ThrowsAsync<InvalidOperationException>(async () => await answer);
        Assert.Equal("broken", exception.Message);
        Assert.Equal(0, _purgatory.Delayed);
    }

    [Fact]
    public async Task What_awaits_never_runs_inside_the_signal()
    {
        var open = false;
        var signaller = Environment.CurrentManagedThreadId;
        var signalling = false;
        var inside = false;
        var waiting = Await();
        open = true;
        signalling = true;
        _purgatory.CheckAndComplete("a");
        signalling = false;
        await waiting.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.False(inside);

        async Task Await()
        {
            await _purgatory.WaitAsync(new Wait(100, () => open), "a").ConfigureAwait(false);
            inside = signalling && Environment.CurrentManagedThreadId == signaller;
        }
    }

    private sealed class Wait(long delayMs, Func<bool> condition, bool broken = false)
        : AsyncDelayedOperation<string>(delayMs)
    {
        public override bool TryComplete() => condition() && ForceComplete();

        protected override string CreateResult() =>
            broken ? throw new InvalidOperationException("broken") : IsExpired ? "expired" : "met";
    }
}
