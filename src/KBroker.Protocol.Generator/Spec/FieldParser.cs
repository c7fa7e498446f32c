namespace KBroker.Protocol.Generator.Spec;

/// <summary>
/// Reads a field line, <c>Name: type [as Domain] [= default] [@versions] [tag n] [flags]</c>, and a <c>struct</c> line.
/// </summary>
internal static class FieldParser
{
    /// <summary>Reads a field; null after an error, which is reported.</summary>
    public static FieldSpec? Parse(SpecFile file, LineScanner scanner, string doc)
    {
        var field = new FieldSpec { Doc = doc };
        if (!HeadParser.TryName(file, scanner, out string name)) return null;
        field.Name = name;
        field.Position = scanner.Last;
        if (!scanner.Take(':')) return Fail(file, SpecErrors.Syntax, scanner.Last, "Expected ':' and a type.");
        if (!TryType(file, scanner, field)) return null;
        if (scanner.PeekWord() == "as")
        {
            scanner.TakeWord();
            if (!HeadParser.TryName(file, scanner, out string domain)) return null;
            field.Domain = domain;
            field.DomainPosition = scanner.Last;
        }

        if (scanner.Take('=') && !TryDefault(file, scanner, field)) return null;
        if (scanner.Take('@'))
        {
            if (!TryRange(file, scanner, scanner.TakeWord(), out VersionRange versions)) return null;
            field.Declared = versions;
            field.VersionsPosition = scanner.Last;
        }

        return TryFlags(file, scanner, field) ? field : null;
    }

    /// <summary>Reads <c>struct Name [@versions]</c>; null after an error.</summary>
    public static StructSpec? SharedStruct(SpecFile file, LineScanner scanner, string doc)
    {
        scanner.TakeWord();
        if (!HeadParser.TryName(file, scanner, out string name)) return null;
        var shared = new StructSpec { Name = name, Position = scanner.Last, Doc = doc, IsShared = true };
        if (scanner.Take('@'))
        {
            if (!TryRange(file, scanner, scanner.TakeWord(), out VersionRange versions)) return null;
            shared.Declared = versions;
        }

        if (scanner.AtEnd) return shared;
        file.Error(SpecErrors.Syntax, scanner.Rest(), "Nothing may follow here.");
        return null;
    }

    private static bool TryType(SpecFile file, LineScanner scanner, FieldSpec field)
    {
        field.IsArray = scanner.Take('[');
        field.TypeName = scanner.TakeWord();
        field.TypePosition = scanner.Last;
        if (field.TypeName.Length == 0)
        {
            file.Error(SpecErrors.Syntax, scanner.Last, "Expected a type.");
            return false;
        }

        if (!FieldTypes.IsPrimitive(field.TypeName) && !HeadParser.IsName(field.TypeName))
        {
            file.Error(SpecErrors.UnknownType, scanner.Last,
                "'" + field.TypeName + "' is neither a wire type nor a name of a struct.");
            return false;
        }

        if (field.IsArray && !scanner.Take(']'))
        {
            file.Error(SpecErrors.Syntax, scanner.Last, "Expected ']'.");
            return false;
        }

        if (!scanner.Take('?')) return true;
        field.NullablePosition = scanner.Last;
        string from = scanner.TakeAdjacentWord();
        if (from.Length == 0)
        {
            field.DeclaredNullable = new VersionRange(0, VersionRange.Unbounded);
            return true;
        }

        field.NullablePosition = scanner.Last;
        if (!TryRange(file, scanner, from, out VersionRange nullable)) return false;
        field.DeclaredNullable = nullable;
        return true;
    }

    private static bool TryDefault(SpecFile file, LineScanner scanner, FieldSpec field)
    {
        if (scanner.NextIsQuote())
        {
            field.Default = scanner.TakeQuoted();
            field.DefaultIsQuoted = true;
        }
        else
        {
            field.Default = scanner.TakeWord();
        }

        field.DefaultPosition = scanner.Last;
        if (field.Default is { Length: > 0 } || field.DefaultIsQuoted && field.Default is not null) return true;
        file.Error(SpecErrors.Default, scanner.Last, "Expected a default value.");
        return false;
    }

    private static bool TryFlags(SpecFile file, LineScanner scanner, FieldSpec field)
    {
        while (!scanner.AtEnd)
        {
            string word = scanner.TakeWord();
            switch (word)
            {
                case "tag":
                    if (!HeadParser.TryNumber(file, scanner, int.MaxValue, out int tag)) return false;
                    field.Tag = tag;
                    field.TagPosition = scanner.Last;
                    break;
                case "key": field.IsMapKey = true; break;
                case "ignorable": field.IsIgnorable = true; break;
                case "zero-copy": field.IsZeroCopy = true; break;
                case "inflexible": field.IsInflexible = true; break;
                default:
                    file.Error(SpecErrors.Syntax, scanner.Last, word.Length == 0
                        ? "Expected: Name: type [as Domain] [= default] [@versions] [tag n] [flags]."
                        : "Unknown word '" + word + "'; expected tag, key, ignorable, zero-copy or inflexible.");
                    return false;
            }
        }

        return true;
    }

    private static bool TryRange(SpecFile file, LineScanner scanner, string word, out VersionRange range)
    {
        if (VersionRange.TryParse(word, out range)) return true;
        file.Error(SpecErrors.Versions, scanner.Last, "'" + word + "' is not a version range (n, n+ or n-m).");
        return false;
    }

    private static FieldSpec? Fail(SpecFile file, string id, SpecPosition at, string message)
    {
        file.Error(id, at, message);
        return null;
    }
}
