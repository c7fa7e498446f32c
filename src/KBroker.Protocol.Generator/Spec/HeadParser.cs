using System.Globalization;

namespace KBroker.Protocol.Generator.Spec;

/// <summary>Reads the lines at the left margin: <c>api</c>, the message kinds, <c>domain</c>.</summary>
internal static class HeadParser
{
    /// <summary>Kafka's keys are below; those of KBroker's own apis are not.</summary>
    private const int FirstPrivateKey = 20000;

    /// <summary>Reads <c>api 1 Fetch, versions 4-18, flexible 12+, ...</c> behind its keyword.</summary>
    public static bool TryApi(SpecFile file, LineScanner scanner, ApiSpec api)
    {
        if (!TryNumber(file, scanner, short.MaxValue, out int key)) return false;
        api.Key = key;
        if (!TryName(file, scanner, out string name)) return false;
        api.Name = name;
        api.Position = scanner.Last;
        while (!scanner.AtEnd)
        {
            if (!TakeComma(file, scanner)) return false;
            string clause = scanner.TakeWord();
            SpecPosition at = scanner.Last;
            switch (clause)
            {
                case "versions":
                    if (!TryVersions(file, scanner, false, out VersionRange versions)) return false;
                    api.Versions = versions;
                    break;
                case "flexible":
                    if (!TryVersions(file, scanner, true, out VersionRange flexible)) return false;
                    api.Flexible = flexible;
                    break;
                case "advertised-from":
                    if (!TryNumber(file, scanner, short.MaxValue, out int advertised)) return false;
                    api.AdvertisedLowest = advertised;
                    break;
                case "response-header":
                    if (!TryNumber(file, scanner, 1, out int header)) return false;
                    api.ResponseHeader = header;
                    break;
                case "listeners":
                    if (!TryListeners(file, scanner, api)) return false;
                    break;
                case "latest-unstable": api.LatestIsUnstable = true; break;
                case "cluster-action": api.IsClusterAction = true; break;
                case "forwardable": api.IsForwardable = true; break;
                case "private": api.IsPrivate = true; break;
                case "removed": api.IsRemoved = true; break;
                default:
                    file.Error(SpecErrors.Syntax, at, "Unknown clause '" + clause + "' of an api.");
                    return false;
            }
        }

        if (api.IsPrivate != key >= FirstPrivateKey)
        {
            file.Error(SpecErrors.Structure, api.Position,
                "An api has the clause 'private' if, and only if, its key is "
                + FirstPrivateKey.ToString(CultureInfo.InvariantCulture) + " or larger.");
            return false;
        }

        if (!api.IsRemoved) return CheckVersions(file, api.Position, api.Name, api.Versions, api.Flexible);
        if (api.Versions.IsEmpty) return true;
        file.Error(SpecErrors.Versions, api.Position, "A removed api has no versions.");
        return false;
    }

    /// <summary>Reads <c>value 2 Name, catalog group, versions 0-4, flexible 4+</c> behind its keyword.</summary>
    public static bool TryMessage(SpecFile file, LineScanner scanner, MessageSpec message)
    {
        bool numbered = message.Kind is MessageKind.Key or MessageKind.Value or MessageKind.Record;
        if (numbered)
        {
            if (!TryNumber(file, scanner, short.MaxValue, out int number)) return false;
            message.Number = number;
        }

        if (!TryName(file, scanner, out string name)) return false;
        message.Name = name;
        message.Position = scanner.Last;
        while (!scanner.AtEnd)
        {
            if (!TakeComma(file, scanner)) return false;
            string clause = scanner.TakeWord();
            SpecPosition at = scanner.Last;
            switch (clause)
            {
                case "versions":
                    if (!TryVersions(file, scanner, false, out VersionRange versions)) return false;
                    message.Versions = versions;
                    break;
                case "flexible":
                    if (!TryVersions(file, scanner, true, out VersionRange flexible)) return false;
                    message.Flexible = flexible;
                    break;
                case "catalog" when numbered:
                    message.Catalog = scanner.TakeWord();
                    break;
                default:
                    file.Error(SpecErrors.Syntax, at, "Unknown clause '" + clause + "' here.");
                    return false;
            }
        }

        if (numbered && message.Catalog.Length == 0)
        {
            file.Error(SpecErrors.Syntax, message.Position, name + " needs a clause 'catalog <name>'.");
            return false;
        }

        return CheckVersions(file, message.Position, name, message.Versions, message.Flexible);
    }

    /// <summary>Reads <c>domain TopicName: string[, enum X]</c> behind its keyword; null after an error.</summary>
    public static DomainSpec? Domain(SpecFile file, LineScanner scanner, string doc)
    {
        if (!TryName(file, scanner, out string name)) return null;
        SpecPosition at = scanner.Last;
        if (!scanner.Take(':'))
        {
            file.Error(SpecErrors.Syntax, scanner.Last, "Expected ':' and a type.");
            return null;
        }

        string type = scanner.TakeWord();
        if (!FieldTypes.IsPrimitive(type))
        {
            file.Error(SpecErrors.UnknownType, scanner.Last, "'" + type + "' is not a wire type.");
            return null;
        }

        string? enumType = null;
        if (!scanner.AtEnd)
        {
            if (!TakeComma(file, scanner)) return null;
            if (scanner.TakeWord() != "enum" || (enumType = scanner.TakeWord()).Length == 0)
            {
                file.Error(SpecErrors.Syntax, scanner.Last, "Expected 'enum' and the name of an enum.");
                return null;
            }
        }

        if (scanner.AtEnd) return new DomainSpec(name, type, enumType, doc, at, file.Path);
        file.Error(SpecErrors.Syntax, scanner.Rest(), "Nothing may follow here.");
        return null;
    }

    /// <summary>Whether a text is a name: a capital letter, then letters and digits.</summary>
    public static bool IsName(string text)
    {
        if (text.Length == 0 || text[0] is < 'A' or > 'Z') return false;
        foreach (char c in text)
        {
            if (c is not (>= 'a' and <= 'z' or >= 'A' and <= 'Z' or >= '0' and <= '9')) return false;
        }

        return true;
    }

    /// <summary>Takes a name, or reports that there is none.</summary>
    public static bool TryName(SpecFile file, LineScanner scanner, out string name)
    {
        name = scanner.TakeWord();
        if (IsName(name)) return true;
        file.Error(SpecErrors.Syntax, scanner.Last,
            "Expected a name (a capital letter, then letters and digits), not '" + name + "'.");
        return false;
    }

    /// <summary>Takes a number from 0 to a bound, or reports that there is none.</summary>
    public static bool TryNumber(SpecFile file, LineScanner scanner, int highest, out int number)
    {
        string word = scanner.TakeWord();
        if (int.TryParse(word, NumberStyles.None, CultureInfo.InvariantCulture, out number) && number <= highest)
            return true;
        file.Error(SpecErrors.Syntax, scanner.Last,
            "Expected a number from 0 to " + highest.ToString(CultureInfo.InvariantCulture) + ", not '" + word + "'.");
        return false;
    }

    private static bool TryVersions(SpecFile file, LineScanner scanner, bool noneAllowed, out VersionRange range)
    {
        string word = scanner.TakeWord();
        range = VersionRange.None;
        if (noneAllowed && word == "none") return true;
        if (VersionRange.TryParse(word, out range)) return true;
        file.Error(SpecErrors.Versions, scanner.Last, "'" + word + "' is not a version range (n, n+ or n-m).");
        return false;
    }

    private static bool CheckVersions(
        SpecFile file, SpecPosition at, string name, VersionRange versions, VersionRange flexible)
    {
        if (versions.IsEmpty || versions.Highest == VersionRange.Unbounded)
        {
            file.Error(SpecErrors.Versions, at, name + " needs 'versions' with a first and a last version.");
            return false;
        }

        if (flexible.IsEmpty || flexible.Highest == VersionRange.Unbounded) return true;
        file.Error(SpecErrors.Versions, at, "The flexible versions of " + name + " have no end: write n+ or none.");
        return false;
    }

    private static bool TryListeners(SpecFile file, LineScanner scanner, ApiSpec api)
    {
        do
        {
            string word = scanner.TakeWord();
            if (word == "broker") api.OnBroker = true;
            else if (word == "controller") api.OnController = true;
            else
            {
                file.Error(SpecErrors.Syntax, scanner.Last, "A listener is broker or controller, not '" + word + "'.");
                return false;
            }
        }
        while (scanner.PeekWord().Length > 0);
        return true;
    }

    private static bool TakeComma(SpecFile file, LineScanner scanner)
    {
        if (scanner.Take(',')) return true;
        file.Error(SpecErrors.Syntax, scanner.Last, "Expected ',' before the next clause.");
        return false;
    }
}
