using KBroker.Compat.Harness;

namespace KBroker.Compat.Hostile.Tests;

/// <summary>An honest client on one connection that asks for metadata over and over while an attack goes on.</summary>
internal sealed class Bystander : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly RawConnection _connection;
    private readonly Task _loop;
    private int _answers;

    private Bystander(RawConnection connection)
    {
        _connection = connection;
        _loop = Task.Run(AskAsync);
    }

    public static async Task<Bystander> StartAsync(int port) => new(await RawConnection.OpenAsync(port));

    /// <summary>Fails when it was ever refused, and waits until it gets an answer once more.</summary>
    public async Task AssertServedAsync()
    {
        var before = Volatile.Read(ref _answers);
        await Poll.UntilAsync("the bystander is served", () => _loop.IsFaulted || Volatile.Read(ref _answers) > before);
        if (_loop.IsFaulted)
            await _loop;
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        try
        {
            await _loop;
        }
        finally
        {
            _connection.Dispose();
            _stop.Dispose();
        }
    }

    private async Task AskAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            Assert.Equal(1, await _connection.CountBrokersAsync());
            Interlocked.Increment(ref _answers);
            await Task.Delay(10);
        }
    }
}
