using System.Collections.Frozen;
using System.Diagnostics.CodeAnalysis;

namespace KBroker.Protocol;

/// <summary>The table of all APIs this build can read and write, made from the specs.</summary>
public static partial class ApiCatalog
{
    private static readonly ApiInfo[] Sorted = CreateAll();
    private static readonly FrozenDictionary<ApiKey, ApiInfo> ByKey = Sorted.ToFrozenDictionary(static a => a.Key);

    /// <summary>All APIs by ascending key.</summary>
    public static IReadOnlyList<ApiInfo> All => Sorted;

    /// <summary>Finds an API; false when the key is unknown, or belongs to an API without versions.</summary>
    public static bool TryGet(ApiKey key, [NotNullWhen(true)] out ApiInfo? info) => ByKey.TryGetValue(key, out info);

    /// <summary>The API of a key that is known to exist.</summary>
    /// <exception cref="KeyNotFoundException">There is no such API.</exception>
    public static ApiInfo Get(ApiKey key) =>
        TryGet(key, out var info) ? info : throw new KeyNotFoundException($"There is no API with key {(short)key}.");
}
