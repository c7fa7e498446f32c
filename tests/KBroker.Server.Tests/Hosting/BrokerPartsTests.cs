using KBroker.Server.Hosting;
using Microsoft.Extensions.Logging.Abstractions;

namespace KBroker.Server.Tests.Hosting;

public sealed class BrokerPartsTests
{
    private readonly List<string> _events = [];

    [Fact]
    public async Task Parts_stop_in_the_opposite_order()
    {
        var parts = Parts(Part("a"), Part("b"), Part("c"));
        await parts.StartAsync(CancellationToken.None);
        await parts.StopAsync(CancellationToken.None);
        await parts.StopAsync(CancellationToken.None);
        Assert.Equal(["+a", "+b", "+c", "-c", "-b", "-a"], _events);
    }

    [Fact]
    public async Task When_a_part_fails_to_start_those_before_it_are_stopped()
    {
        var parts = Parts(Part("a"), Part("b", start: () => throw new IOException("no")), Part("c"));
        await Assert.ThrowsAsync<IOException>(() => parts.StartAsync(CancellationToken.None));
        Assert.Equal(["+a", "-a"], _events);
    }

    [Fact]
    public async Task A_part_that_fails_to_stop_does_not_keep_the_others_from_it()
    {
        var parts = Parts(Part("a"), Part("b", stop: () => throw new IOException("no")));
        await parts.StartAsync(CancellationToken.None);
        await parts.StopAsync(CancellationToken.None);
        Assert.Equal(["+a", "+b", "-a"], _events);
    }

    [Fact]
    public async Task A_start_that_is_given_up_stops_what_it_started()
    {
        using var cancel = new CancellationTokenSource();
        var parts = Parts(Part("a", start: cancel.Cancel), Part("b"));
        await Assert.ThrowsAsync<OperationCanceledException>(() => parts.StartAsync(cancel.Token));
        Assert.Equal(["+a", "-a"], _events);
    }

    private static BrokerParts Parts(params BrokerPart[] parts) => new(parts, NullLogger.Instance);

    private BrokerPart Part(string name, Action? start = null, Action? stop = null)
    {
        Task Run(Action? action, string sign)
        {
            action?.Invoke();
            _events.Add(sign + name);
            return Task.CompletedTask;
        }

        return new BrokerPart(name, _ => Run(start, "+"), _ => Run(stop, "-"));
    }
}
