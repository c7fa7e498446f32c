using System;
using System.Collections.Generic;
using System.Linq;
using KBroker.Protocol.Generator.Spec;

namespace KBroker.Protocol.Generator;

/// <summary>An array that is equal to another when the elements are, as the incremental pipeline needs it.</summary>
internal readonly struct EquatableArray<T> : IEquatable<EquatableArray<T>>
    where T : IEquatable<T>
{
    private readonly T[]? _items;

    public EquatableArray(IEnumerable<T> items) => _items = items.ToArray();

    public T[] Items => _items ?? Array.Empty<T>();

    public bool Equals(EquatableArray<T> other) => Items.SequenceEqual(other.Items);

    public override bool Equals(object? obj) => obj is EquatableArray<T> other && Equals(other);

    public override int GetHashCode() => Items.Aggregate(17, (hash, item) => unchecked(hash * 31 + item.GetHashCode()));
}

/// <summary>What other files must know of an API.</summary>
internal sealed record ApiEntry(
    string Path,
    SpecPosition Position,
    int Key,
    string Name,
    string Doc,
    bool IsRemoved,
    int Lowest,
    int Highest,
    int FlexibleFrom,
    bool LatestIsUnstable,
    int AdvertisedLowest,
    int ResponseHeader,
    bool OnBroker,
    bool OnController,
    bool IsClusterAction,
    bool IsForwardable,
    bool IsPrivate);

/// <summary>What other files must know of a message.</summary>
internal sealed record MessageEntry(
    string Path, SpecPosition Position, MessageKind Kind, int Number, string Name, string Catalog);

/// <summary>What one file adds to the tables that span all files.</summary>
internal sealed record FileEntries(
    EquatableArray<ApiEntry> Apis, EquatableArray<MessageEntry> Messages, EquatableArray<DomainSpec> Domains)
{
    /// <summary>Collects the entries of a file.</summary>
    public static FileEntries Of(SpecFile file) => new(
        new EquatableArray<ApiEntry>(file.Apis.Select(a => new ApiEntry(
            file.Path, a.Position, a.Key, a.Name, a.Doc, a.IsRemoved, a.Versions.Lowest, a.Versions.Highest,
            a.Flexible.Lowest, a.LatestIsUnstable, a.AdvertisedLowest, a.ResponseHeader, a.OnBroker, a.OnController,
            a.IsClusterAction, a.IsForwardable, a.IsPrivate))),
        new EquatableArray<MessageEntry>(file.Messages.Select(m => new MessageEntry(
            file.Path, m.Position, m.Kind, m.Number, m.Name, m.Catalog))),
        new EquatableArray<DomainSpec>(file.Domains));
}

/// <summary>The checks that need all files: names and numbers taken twice.</summary>
internal static class CatalogChecks
{
    public static List<SpecError> Run(IReadOnlyList<FileEntries> files)
    {
        var errors = new List<SpecError>();
        var apis = files.SelectMany(f => f.Apis.Items).ToList();
        Report(errors, apis, a => a.Key.ToString(), a => a.Path, a => a.Position, SpecErrors.DuplicateNumber,
            a => "Api key " + a.Key + " is already taken by another api.");
        Report(errors, apis, a => a.Name, a => a.Path, a => a.Position, SpecErrors.Duplicate,
            a => "There is already an api " + a.Name + ".");
        var messages = files.SelectMany(f => f.Messages.Items).ToList();
        Report(errors, messages.Where(m => m.Kind is not (MessageKind.Request or MessageKind.Response)),
            m => m.Name, m => m.Path, m => m.Position, SpecErrors.Duplicate,
            m => "There is already a message " + m.Name + ".");
        Report(errors, messages.Where(m => m.Catalog.Length > 0), m => m.Catalog + "/" + m.Kind + "/" + m.Number,
            m => m.Path, m => m.Position, SpecErrors.DuplicateNumber,
            m => "The catalog " + m.Catalog + " already has a " + m.Kind.ToString().ToLowerInvariant() + " "
                + m.Number + ".");
        Report(errors, files.SelectMany(f => f.Domains.Items), d => d.Name, d => d.Path, d => d.Position,
            SpecErrors.Duplicate, d => "There is already a domain " + d.Name + ".");
        return errors;
    }

    /// <summary>Checks the domains a file uses against all that are declared.</summary>
    public static IEnumerable<SpecError> CheckDomains(SpecFile file, IReadOnlyList<DomainSpec> domains)
    {
        var known = new Dictionary<string, DomainSpec>();
        foreach (DomainSpec domain in domains) known[domain.Name] = domain;
        IEnumerable<StructSpec> structs = file.Messages.SelectMany(m => m.Structs.Concat(new[] { m.Root }));
        foreach (FieldSpec field in structs.SelectMany(s => s.Fields))
        {
            if (field.Domain is null) continue;
            if (!known.TryGetValue(field.Domain, out DomainSpec? domain))
                yield return new SpecError(SpecErrors.Domain, file.Path, field.DomainPosition,
                    "There is no domain " + field.Domain + ".");
            else if (domain.TypeName != field.TypeName)
                yield return new SpecError(SpecErrors.Domain, file.Path, field.DomainPosition,
                    field.Domain + " is a " + domain.TypeName + ", not a " + field.TypeName + ".");
        }
    }

    private static void Report<T>(
        List<SpecError> errors,
        IEnumerable<T> items,
        Func<T, string> key,
        Func<T, string> path,
        Func<T, SpecPosition> position,
        string id,
        Func<T, string> message)
    {
        // The order of files is not fixed; report every one but the first by path, so that the answer is stable.
        foreach (IGrouping<string, T> group in items.GroupBy(key))
        {
            IEnumerable<T> ordered = group.OrderBy(path, StringComparer.Ordinal).ThenBy(i => position(i).Line);
            foreach (T item in ordered.Skip(1))
                errors.Add(new SpecError(id, path(item), position(item), message(item)));
        }
    }
}
