using System.Net;
using System.Net.Sockets;
using KBroker.Server.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace KBroker.Server.Tests.Hosting;

public sealed class AddKBrokerTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("kbroker-hosting-").FullName;

    [Fact]
    public async Task A_host_holds_several_brokers()
    {
        using var host = HostOf(Options("a"), Options("b"));
        await host.StartAsync(TestContext.Current.CancellationToken);
        var brokers = host.Services.GetServices<Broker>().ToList();
        Assert.Equal(2, brokers.Distinct().Count());
        Assert.Equal(
            [Path.Combine(_folder, "a"), Path.Combine(_folder, "b")], brokers.Select(b => b.Options.LogDirs[0]));
        await host.StopAsync(TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task A_broker_that_cannot_go_on_stops_its_host()
    {
        using var host = HostOf(Options("a"));
        await host.StartAsync(TestContext.Current.CancellationToken);
        var stopping = new TaskCompletionSource();
        host.Services.GetRequiredService<IHostApplicationLifetime>().ApplicationStopping.Register(stopping.SetResult);
        host.Services.GetRequiredService<Broker>().Fail(new IOException("the disk is gone"));
        await stopping.Task.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        await host.StopAsync(TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task A_port_in_use_is_told_in_a_sentence()
    {
        using var occupant = new TcpListener(IPAddress.Loopback, 0);
        occupant.Start();
        var port = ((IPEndPoint)occupant.LocalEndpoint).Port;
        using var host = HostOf(Options("a", port));
        var refused = await Assert.ThrowsAsync<BrokerStartException>(
            () => host.StartAsync(TestContext.Current.CancellationToken));
        Assert.Contains($"127.0.0.1:{port}", refused.Message);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static IHost HostOf(params BrokerOptions[] options)
    {
        var builder = Host.CreateEmptyApplicationBuilder(null);
        foreach (var one in options)
        {
            builder.Services.AddKBroker(one);
        }

        return builder.Build();
    }

    private BrokerOptions Options(string name, int port = 0) => BrokerOptions.Create(new Dictionary<string, string>
    {
        ["listeners"] = $"PLAINTEXT://127.0.0.1:{port}",
        ["log.dirs"] = Path.Combine(_folder, name),
    });
}
