using System.Collections.Frozen;
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
/// that kind of listener; KBroker's own are served there without being offered.
/// </summary>
public sealed class ApiTable
{
    private readonly FrozenDictionary<short, ApiEntry> _entries;
    private readonly IReadOnlyList<ServedApi> _broker;
    private readonly IReadOnlyList<ServedApi> _controller;

    /// <summary>Builds the table.</summary>
    /// <param name="handlers">One handler an API.</param>
    /// <param name="enableUnstable">Whether versions that Kafka calls unstable are served as well.</param>
    /// <exception cref="ArgumentException">Two handlers serve the same API.</exception>
    public ApiTable(IEnumerable<IRequestHandler> handlers, bool enableUnstable = false)
    {
        ArgumentNullException.ThrowIfNull(handlers);
        var entries = new SortedDictionary<short, ApiEntry>();
        foreach (var handler in handlers)
        {
            var entry = new ApiEntry(ApiCatalog.Get(handler.ApiKey), handler, enableUnstable);
            if (!entries.TryAdd((short)handler.ApiKey, entry))
            {
                throw new ArgumentException(
                    $"{handler.ApiKey} has two handlers, {entries[(short)handler.ApiKey].Handler.GetType().Name} and "
                    + $"{handler.GetType().Name}.");
            }
        }

        _entries = entries.ToFrozenDictionary();
        _broker = Offer(entries.Values, ApiListeners.Broker);
        _controller = Offer(entries.Values, ApiListeners.Controller);
    }

    /// <summary>What a kind of listener offers, by API key.</summary>
    /// <param name="listener">One kind.</param>
    /// <returns>The rows of its ApiVersions answer.</returns>
    public IReadOnlyList<ServedApi> Served(ApiListeners listener) =>
        listener == ApiListeners.Controller ? _controller : _broker;

    /// <summary>The entry of an API.</summary>
    /// <returns>Null when a listener of that kind does not serve it.</returns>
    internal ApiEntry? Find(short key, ApiListeners listener) =>
        _entries.TryGetValue(key, out var entry) && (entry.Info.Listeners & listener) != 0 ? entry : null;

    private static ServedApi[] Offer(IEnumerable<ApiEntry> entries, ApiListeners listener) =>
        entries.Where(e => !e.Info.IsPrivate && (e.Info.Listeners & listener) != 0)
            .Select(static e => new ServedApi(e.Info.Key, e.Info.AdvertisedLowest, e.HighestVersion))
            .ToArray();
}
