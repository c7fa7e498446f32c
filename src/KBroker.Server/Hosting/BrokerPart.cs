namespace KBroker.Server.Hosting;

/// <summary>
/// One thing that a broker starts and stops, such as its logs or its listeners. Parts start in order and stop in the
/// opposite order; a part whose start failed is not stopped, those before it are.
/// </summary>
/// <param name="Name">What it is, as in "the listeners"; used in log lines.</param>
/// <param name="StartAsync">Starts it. The token is cancelled when the start is given up.</param>
/// <param name="StopAsync">Stops it. The token is cancelled when the time to stop in good order is over.</param>
internal sealed record BrokerPart(
    string Name, Func<CancellationToken, Task> StartAsync, Func<CancellationToken, Task> StopAsync);
