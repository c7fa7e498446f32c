using System.Net.Sockets;
using KBroker.Compat.Harness;

namespace KBroker.Compat.Hostile.Tests;

/// <summary>
/// What every attack has in common: a bystander on another connection is served all the time; afterwards the broker
/// runs, serves new clients, has not grown, and has logged at most a line an offender.
/// </summary>
[Collection(OneBroker.Name)]
public abstract class HostileTest : IDisposable
{
    private const long MemoryAllowance = 160L * 1024 * 1024;

    protected HostileTest(HostileFixture fixture)
    {
        Assert.SkipWhen(fixture.SkipReason is not null, fixture.SkipReason ?? "");
        Broker = fixture.Broker;
    }

    private protected BrokerProcess Broker { get; }

    public void Dispose()
    {
        if (TestContext.Current.TestState?.Result == TestResult.Failed)
            TestContext.Current.TestOutputHelper?.WriteLine("end of the broker's log:\n" + Broker.LogTail);
        GC.SuppressFinalize(this);
    }

    /// <summary>Runs an attack and checks what must hold after any.</summary>
    /// <param name="attack">Returns the number of offending connections.</param>
    private protected async Task SurviveAsync(Func<Task<int>> attack)
    {
        var lines = LogLines();
        var memory = Broker.ResidentBytes;
        int offenders;
        await using (var bystander = await Bystander.StartAsync(Broker.Port))
        {
            offenders = await attack();
            Assert.True(Broker.IsRunning, "the broker has ended");
            Assert.InRange(Broker.ResidentBytes - memory, long.MinValue, MemoryAllowance);
            await bystander.AssertServedAsync();
        }

        using var fresh = await RawConnection.OpenAsync(Broker.Port);
        Assert.Equal(1, await fresh.CountBrokersAsync());
        await fresh.SendAsync(Requests.Produce(Batch.Of(10)));
        Assert.Equal(0, Answers.ProduceError(await fresh.ReceiveFrameAsync()));
        // Kafka logs a stack trace an offender.
        if (!CompatEnvironment.TargetIsKafka)
            Assert.InRange(LogLines() - lines, 0, offenders);
    }

    /// <summary>Sends bytes on a connection of their own and tells whether the broker closed it.</summary>
    private protected async Task<bool> IsRefusedAsync(ReadOnlyMemory<byte> bytes)
    {
        using var connection = await RawConnection.OpenAsync(Broker.Port);
        return await SendQuietlyAsync(connection, bytes) || await connection.IsClosedByPeerAsync();
    }

    /// <summary>Sends; true when the broker had closed the connection before everything was sent.</summary>
    private protected static async Task<bool> SendQuietlyAsync(RawConnection connection, ReadOnlyMemory<byte> bytes)
    {
        try
        {
            await connection.SendAsync(bytes);
            return false;
        }
        catch (SocketException)
        {
            return true;
        }
    }

    private int LogLines() => Broker.Log.Count(c => c == '\n');
}
