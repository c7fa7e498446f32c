using KBroker.Protocol;

namespace KBroker.Server.Dispatch;

/// <summary>An API as a listener offers it in its ApiVersions answer.</summary>
/// <param name="Key">The API.</param>
/// <param name="MinVersion">First version that is told; Produce tells 0 although it refuses 0 to 2.</param>
/// <param name="MaxVersion">Last version that is told and served.</param>
public sealed record ServedApi(ApiKey Key, short MinVersion, short MaxVersion);

/// <summary>One row of the table: an API and who serves it.</summary>
internal sealed class ApiEntry
{
    public ApiEntry(ApiInfo info, IRequestHandler handler, bool enableUnstable)
    {
        Info = info;
        Handler = handler;
        HighestVersion = enableUnstable ? info.HighestVersion : info.LatestStableVersion;
        Tag = new KeyValuePair<string, object?>("request", info.Name);
    }

    public ApiInfo Info { get; }

    public IRequestHandler Handler { get; }

    /// <summary>Last version that is served.</summary>
    public short HighestVersion { get; }

    /// <summary>The tag of measurements, made once.</summary>
    public KeyValuePair<string, object?> Tag { get; }

    public bool Supports(short version) => version >= Info.LowestVersion && version <= HighestVersion;
}

/// <summary>
/// Which handler serves which API. An API is offered on a listener when it has a handler and the protocol gives it to
/// that kind of listener.
/// </summary>
public sealed class ApiTable
{
    private readonly ApiEntry?[] _entries;
    private readonly IReadOnlyList<ServedApi> _broker;
    private readonly IReadOnlyList<ServedApi> _controller;

    /// <summary>Builds the table.</summary>
    /// <param name="handlers">One handler an API.</param>
    /// <param name="enableUnstable">Whether versions that Kafka calls unstable are served as well.</param>
    /// <exception cref="ArgumentException">Two handlers serve the same API.</exception>
    public ApiTable(IEnumerable<IRequestHandler> handlers, bool enableUnstable = false)
    {
        ArgumentNullException.ThrowIfNull(handlers);
        _entries = new ApiEntry?[ApiCatalog.All.Max(a => (int)a.Key) + 1];
        foreach (var handler in handlers)
        {
            ref var entry = ref _entries[(int)handler.ApiKey];
            if (entry is not null)
            {
                throw new ArgumentException(
                    $"{handler.ApiKey} has two handlers, {entry.Handler.GetType().Name} and {handler.GetType().Name}.");
            }
            entry = new ApiEntry(ApiCatalog.Get(handler.ApiKey), handler, enableUnstable);
        }
        _broker = Offer(ApiListeners.Broker);
        _controller = Offer(ApiListeners.Controller);
    }

    /// <summary>What a kind of listener offers, by API key.</summary>
    /// <param name="listener">One kind.</param>
    /// <returns>The rows of its ApiVersions answer.</returns>
    public IReadOnlyList<ServedApi> Served(ApiListeners listener) =>
        listener == ApiListeners.Controller ? _controller : _broker;

    /// <summary>The entry of an API.</summary>
    /// <returns>Null when a listener of that kind does not serve it.</returns>
    internal ApiEntry? Find(short key, ApiListeners listener) =>
        (uint)key < (uint)_entries.Length && _entries[key] is { } entry && (entry.Info.Listeners & listener) != 0
            ? entry
            : null;

    private ServedApi[] Offer(ApiListeners listener) =>
        _entries.Where(e => e is not null && (e.Info.Listeners & listener) != 0)
            .Select(e => new ServedApi(e!.Info.Key, e.Info.AdvertisedLowest, e.HighestVersion))
            .ToArray();
}
