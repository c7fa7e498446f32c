using System.CommandLine;
using KBroker.Cluster.Configuration;

namespace KBroker;

/// <summary><c>kbroker configs</c>: what every config means, for people without a running broker.</summary>
internal static class ConfigsCommand
{
    internal static Command Create()
    {
        var filter = new Argument<string?>("filter")
        {
            Description = "Part of a name; without it, every config.",
            Arity = ArgumentArity.ZeroOrOne,
        };
        var scope = new Option<string>("--scope", "-s")
        {
            Description = "What the configs belong to; broker is server.properties.",
            DefaultValueFactory = _ => "broker",
        };
        scope.AcceptOnlyFromAmong("broker", "topic", "group", "client-metrics");
        var command = new Command("configs", "Lists configs with their meaning, type, default and what is allowed.")
        {
            filter,
            scope,
        };
        command.SetAction(parsed => Write(parsed.GetValue(scope)!, parsed.GetValue(filter) ?? ""));
        return command;
    }

    private static int Write(string scope, string filter)
    {
        var wanted = Enum.Parse<ConfigScope>(scope.Replace("-", "", StringComparison.Ordinal), ignoreCase: true);
        var definitions = ConfigCatalog.Default.All(wanted).Values
            .Where(d => !d.IsInternal && d.Name.Contains(filter, StringComparison.OrdinalIgnoreCase))
            .OrderBy(d => d.Name, StringComparer.Ordinal)
            .ToList();
        foreach (var definition in definitions)
        {
            Console.WriteLine(definition.Name);
            Console.WriteLine($"    {definition.Documentation}");
            Console.WriteLine($"    {Facts(definition)}");
        }

        if (definitions.Count == 0)
        {
            Console.Error.WriteLine($"kbroker: no {scope} config has '{filter}' in its name");
        }

        return definitions.Count == 0 ? ExitCode.BadUsage : ExitCode.Done;
    }

    private static string Facts(ConfigDefinition definition)
    {
        var facts = new List<string> { definition.Type.ToString().ToLowerInvariant() };
        facts.Add(definition.DefaultValue is null ? "no default" : $"default \"{definition.DefaultValue}\"");
        if (definition.Allowed.Length > 0)
        {
            facts.Add(definition.Allowed);
        }

        if (definition.Scope == ConfigScope.Broker)
        {
            facts.Add(definition.UpdateMode switch
            {
                ConfigUpdateMode.ReadOnly => "set at start",
                ConfigUpdateMode.PerBroker => "can be changed at run time, on one broker",
                _ => "can be changed at run time",
            });
        }

        return string.Join("; ", facts);
    }
}
