using KBroker.Protocol;

namespace KBroker.Server.Tests.Handlers;

/// <summary>Theory data: the versions of an API that are offered.</summary>
public static class Versions
{
    /// <summary>Every version, or those of a range.</summary>
    public static IEnumerable<TheoryDataRow<short>> Of(ApiKey key, int from = 0, int to = short.MaxValue)
    {
        var info = ApiCatalog.Get(key);
        var last = Math.Min(to, info.LatestStableVersion);
        for (var version = Math.Max(from, info.LowestVersion); version <= last; version++)
            yield return new TheoryDataRow<short>((short)version);
    }
}
