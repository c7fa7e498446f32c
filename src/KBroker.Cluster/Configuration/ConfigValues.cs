using System.Globalization;

namespace KBroker.Cluster.Configuration;

/// <summary>
/// The effective configs of one resource, read by name and type. An instance is an immutable snapshot: a change makes
/// a new one. Names that the code asks for must be in the catalog.
/// </summary>
public abstract class ConfigValues
{
    private protected ConfigValues(ConfigCatalog catalog, ConfigScope scope)
    {
        Catalog = catalog;
        Scope = scope;
    }

    /// <summary>The catalog that the names are looked up in.</summary>
    public ConfigCatalog Catalog { get; }

    /// <summary>What the configs belong to.</summary>
    public ConfigScope Scope { get; }

    /// <summary>An effective value, parsed and checked; null when nothing is set and nothing is the default.</summary>
    /// <exception cref="ConfigException">The value that is set is not allowed.</exception>
    public object? GetValue(string name)
    {
        var definition = Catalog.Get(Scope, name);
        var (value, factor) = Resolve(definition);
        if (value is null)
        {
            return null;
        }

        if (factor == 1)
        {
            return definition.Parse(value);
        }

        // A count of hours or minutes stands for milliseconds here; any negative one means "no bound".
        var count = (int)ConfigText.Parse(definition.Name, ConfigType.Int, value);
        return count < 0 ? -1L : count * factor;
    }

    /// <summary>A boolean that has a default.</summary>
    public bool GetBoolean(string name) => (bool)Required(name);

    /// <summary>A 32-bit integer, also one declared SHORT, that has a default.</summary>
    public int GetInt(string name) => Convert.ToInt32(Required(name), CultureInfo.InvariantCulture);

    /// <summary>A 32-bit integer that may be unset.</summary>
    public int? GetOptionalInt(string name) => (int?)GetValue(name);

    /// <summary>A 64-bit integer, also one declared INT, that has a default.</summary>
    public long GetLong(string name) => Convert.ToInt64(Required(name), CultureInfo.InvariantCulture);

    /// <summary>A 64-bit integer that may be unset.</summary>
    public long? GetOptionalLong(string name) => (long?)GetValue(name);

    /// <summary>A floating point number that has a default.</summary>
    public double GetDouble(string name) => (double)Required(name);

    /// <summary>Text, or null when it is unset.</summary>
    public string? GetString(string name) => (string?)GetValue(name);

    /// <summary>The elements of a list; none when it is unset.</summary>
    public IReadOnlyList<string> GetList(string name) => (string[]?)GetValue(name) ?? [];

    /// <summary>One config as DescribeConfigs answers it; null when the resource has no such config.</summary>
    public abstract ConfigEntry? Describe(string name);

    /// <summary>
    /// All configs as DescribeConfigs answers them, ordered by name: internal ones only when they are set.
    /// </summary>
    public abstract IEnumerable<ConfigEntry> DescribeAll();

    /// <summary>The text that is in force, and what its number must be multiplied by.</summary>
    private protected abstract (string? Value, long Factor) Resolve(ConfigDefinition definition);

    private object Required(string name) =>
        GetValue(name) ?? throw new ConfigException($"Missing required configuration \"{name}\".");

    /// <summary>The value in force as it is shown; one that no longer parses is shown as it was set.</summary>
    private protected string? Show(ConfigDefinition definition)
    {
        if (definition.IsSensitive)
        {
            return null;
        }

        try
        {
            return GetValue(definition.Name) is { } value ? ConfigText.Format(value) : null;
        }
        catch (ConfigException)
        {
            return Resolve(definition).Value;
        }
    }
}
