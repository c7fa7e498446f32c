using KBroker.Server.Hosting;
using KBroker.Storage.Files;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Adds brokers to a host.</summary>
public static class BrokerServiceCollectionExtensions
{
    /// <summary>
    /// Adds a broker that starts and stops with the host. It may be called several times, with different directories
    /// and ports: each call adds a broker, and <c>GetServices&lt;Broker&gt;()</c> answers them in order. A
    /// <see cref="TimeProvider"/> or <see cref="IFileSystem"/> among the services is used.
    /// </summary>
    /// <param name="services">The services of the host, which must have logging.</param>
    /// <param name="options">The broker's checked properties.</param>
    public static IServiceCollection AddKBroker(this IServiceCollection services, BrokerOptions options)
    {
        services.AddKeyedSingleton(options, static (provider, key) => new Broker(
            (BrokerOptions)key!,
            provider.GetRequiredService<ILoggerFactory>(),
            provider.GetService<TimeProvider>() ?? TimeProvider.System,
            provider.GetService<IFileSystem>()));
        services.AddSingleton(provider => provider.GetRequiredKeyedService<Broker>(options));
        services.AddSingleton<IHostedService>(provider => new BrokerHostedService(
            provider.GetRequiredKeyedService<Broker>(options),
            provider.GetRequiredService<IHostApplicationLifetime>(),
            provider.GetRequiredService<ILogger<BrokerHostedService>>()));
        return services;
    }
}
