using System.Collections.Generic;
using System.Globalization;

namespace KBroker.Protocol.Generator.Spec;

/// <summary>
/// Gives every field its effective versions and its struct, and checks all that one file alone can be checked for.
/// </summary>
internal sealed class SpecResolver
{
    private readonly SpecFile _file;
    private readonly MessageSpec _message;
    private readonly Dictionary<string, StructSpec> _structs = new();

    private SpecResolver(SpecFile file, MessageSpec message)
    {
        _file = file;
        _message = message;
    }

    public static void Resolve(SpecFile file)
    {
        foreach (MessageSpec message in file.Messages) new SpecResolver(file, message).Run();
        foreach (ApiSpec api in file.Apis)
        {
            if (api.LatestIsUnstable && api.Versions.Lowest == api.Versions.Highest)
                file.Error(SpecErrors.Versions, api.Position, "The only version of an api cannot be unstable.");
            if (api.AdvertisedLowest > api.Versions.Lowest)
                file.Error(SpecErrors.Versions, api.Position, "advertised-from lies above the first version.");
            if (!api.IsRemoved && !api.OnBroker && !api.OnController)
                file.Error(SpecErrors.Structure, api.Position, api.Name + " needs a clause 'listeners'.");
        }
    }

    private void Run()
    {
        foreach (StructSpec item in _message.Structs)
        {
            if (_structs.ContainsKey(item.Name) || item.Name == _message.Name)
                _file.Error(SpecErrors.Duplicate, item.Position, "Another struct is already named " + item.Name + ".");
            else
                _structs.Add(item.Name, item);
            if (!item.IsShared) continue;
            item.Versions = item.Declared is { } declared ? declared.Intersect(_message.Versions) : _message.Versions;
            if (item.Versions.IsEmpty)
                _file.Error(SpecErrors.Versions, item.Position, item.Name + " is in no version of the message.");
        }

        _message.Root.Versions = _message.Versions;
        ResolveFields(_message.Root);
        foreach (StructSpec item in _message.Structs)
        {
            if (item.IsShared) ResolveFields(item);
        }

        var path = new List<StructSpec>();
        foreach (StructSpec item in _message.Structs) CheckRecursion(item, path);
    }

    private void ResolveFields(StructSpec owner)
    {
        if (owner.Fields.Count == 0 && owner != _message.Root)
            _file.Error(SpecErrors.Structure, owner.Position, owner.Name + " has no fields.");
        var names = new HashSet<string>();
        var tags = new HashSet<int>();
        foreach (FieldSpec field in owner.Fields)
        {
            if (!names.Add(field.Name))
                _file.Error(SpecErrors.Duplicate, field.Position, "There is already a field " + field.Name + ".");
            ResolveVersions(owner, field);
            ResolveType(field);
            if (field.IsTagged) CheckTag(field, tags);
            CheckFlags(field);
            CheckDefault(field);
            if (field.Inline is null) continue;
            field.Inline.Versions = field.Versions;
            ResolveFields(field.Inline);
        }
    }

    private void ResolveVersions(StructSpec owner, FieldSpec field)
    {
        field.Versions = owner.Versions;
        if (field.Declared is { } declared)
        {
            // An open end means "to the end of the parent"; anything else must lie inside the parent.
            if (declared.Highest == VersionRange.Unbounded)
                declared = new VersionRange(declared.Lowest, owner.Versions.Highest);
            if (declared.IsEmpty || !owner.Versions.Contains(declared))
                _file.Error(SpecErrors.Versions, field.VersionsPosition, "Versions " + field.Declared
                    + " of " + field.Name + " are not within " + owner.Versions + " of " + owner.Name + ".");
            else
                field.Versions = declared;
        }

        if (field.DeclaredNullable is not { } nullable) return;
        field.Nullable = nullable.Intersect(field.Versions);
        bool explicitRange = nullable.Lowest != 0 || nullable.Highest != VersionRange.Unbounded;
        bool outside = nullable.Lowest != 0 && nullable.Lowest < field.Versions.Lowest
            || nullable.Highest != VersionRange.Unbounded && nullable.Highest > field.Versions.Highest;
        if (field.Nullable.IsEmpty || explicitRange && outside)
            _file.Error(SpecErrors.Versions, field.NullablePosition, "Nullable versions " + nullable + " of "
                + field.Name + " are not within its versions " + field.Versions + ".");
        if (!field.IsArray && FieldTypes.FixedSize(field.TypeName) > 0)
            _file.Error(SpecErrors.UnknownType, field.NullablePosition, field.TypeName + " cannot be null.");
    }

    private void ResolveType(FieldSpec field)
    {
        if (FieldTypes.IsPrimitive(field.TypeName))
        {
            if (field.IsArray && !FieldTypes.CanBeElement(field.TypeName))
                TypeError(field, "There are no arrays of " + field.TypeName + ".");
            return;
        }

        field.Struct = field.Inline;
        if (field.Struct is not null) return;
        if (!_structs.TryGetValue(field.TypeName, out StructSpec? found))
        {
            TypeError(field, "There is no type or struct " + field.TypeName + ".");
            return;
        }

        field.Struct = found;
        if (!found.IsShared)
            TypeError(field, found.Name + " is defined in line elsewhere; define it by 'struct " + found.Name
                + "' to use it here.");
        else if (!found.Versions.Contains(field.Versions))
            _file.Error(SpecErrors.Versions, field.Position, field.Name + " is in versions " + field.Versions
                + ", its struct only in " + found.Versions + ".");
    }

    private void TypeError(FieldSpec field, string text) =>
        _file.Error(SpecErrors.UnknownType, field.TypePosition, text);

    private void CheckTag(FieldSpec field, HashSet<int> tags)
    {
        if (!tags.Add(field.Tag))
            _file.Error(SpecErrors.Tag, field.TagPosition, "Tag " + field.Tag + " is already taken.");
        if (!_message.Flexible.Contains(field.Versions))
            _file.Error(SpecErrors.Tag, field.TagPosition, field.Name + " is in versions " + field.Versions
                + ", but tags exist only in the flexible versions " + _message.Flexible + ".");
        if (field.TypeName == "records")
            _file.Error(SpecErrors.Tag, field.TagPosition, "Records cannot be a tagged field.");
    }

    private void CheckFlags(FieldSpec field)
    {
        if (field.IsZeroCopy && (field.TypeName != "bytes" || field.IsArray))
            _file.Error(SpecErrors.Structure, field.Position, "Only a field of type bytes can be zero-copy.");
        if (field.IsInflexible && (field.TypeName != "string" || field.IsArray || field.IsTagged))
            _file.Error(SpecErrors.Structure, field.Position, "Only an untagged string can be inflexible.");
    }

    private void CheckDefault(FieldSpec field)
    {
        if (field.Default is null) return;
        string? problem = DefaultProblem(field);
        if (problem is not null)
            _file.Error(SpecErrors.Default, field.DefaultPosition, problem);
    }

    private static string? DefaultProblem(FieldSpec field)
    {
        if (field.DefaultIsNull)
        {
            // null must be writable wherever nothing else was set.
            return field.IsNullable ? null : field.Name + " is never null, so null cannot be its default.";
        }

        if (field.IsArray || field.Struct is not null || field.TypeName is "bytes" or "records" or "uuid")
            return "Only null can be the default of such a field.";
        if (field.TypeName == "string")
            return field.DefaultIsQuoted ? null : "The default of a string is null or text in quotes.";
        if (field.DefaultIsQuoted) return "Only a string has a default in quotes.";
        if (field.TypeName == "bool")
            return field.Default is "true" or "false" ? null : "The default of a bool is true or false.";
        if (field.TypeName == "float64")
            return double.TryParse(field.Default, NumberStyles.Float, CultureInfo.InvariantCulture, out _)
                ? null
                : "'" + field.Default + "' is not a number.";
        if (!FieldTypes.IsInteger(field.TypeName, out long lowest, out long highest))
            return "This type has no default.";
        if (!TryInteger(field.Default!, out long value)) return "'" + field.Default + "' is not an integer.";
        return value < lowest || value > highest ? field.Default + " does not fit " + field.TypeName + "." : null;
    }

    private static bool TryInteger(string text, out long value) =>
        long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out value);

    private void CheckRecursion(StructSpec item, List<StructSpec> path)
    {
        if (path.Contains(item))
        {
            if (path[0] == item)
                _file.Error(SpecErrors.Structure, item.Position, item.Name + " contains itself.");
            return;
        }

        path.Add(item);
        foreach (FieldSpec field in item.Fields)
        {
            if (field.Struct is not null) CheckRecursion(field.Struct, path);
        }

        path.RemoveAt(path.Count - 1);
    }
}
