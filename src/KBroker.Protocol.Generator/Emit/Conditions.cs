using System.Globalization;
using KBroker.Protocol.Generator.Spec;

namespace KBroker.Protocol.Generator.Emit;

/// <summary>Conditions on versions and values, as C# text; an empty text is a condition that always holds.</summary>
internal static class Conditions
{
    /// <summary>Holds when <c>version</c>, which lies in one range, lies in the other too.</summary>
    public static string In(VersionRange range, VersionRange known)
    {
        string low = range.Lowest > known.Lowest ? "version >= " + Text(range.Lowest) : "";
        string high = range.Highest < known.Highest ? "version <= " + Text(range.Highest) : "";
        bool isOne = range.Lowest == range.Highest && low.Length > 0 && high.Length > 0;
        return isOne ? "version == " + Text(range.Lowest) : And(low, high);
    }

    /// <summary>Both conditions.</summary>
    public static string And(string left, string right) =>
        left.Length == 0 ? right : right.Length == 0 ? left : left + " && " + right;

    /// <summary>A statement under a condition.</summary>
    public static string If(string condition) => condition.Length == 0 ? "" : "if (" + condition + ") ";

    /// <summary>Holds when the property differs from its default.</summary>
    public static string NotDefault(FieldSpec field, Naming naming)
    {
        string name = field.Name;
        string lazy = Naming.Backing(field);
        if (field.IsArray)
        {
            if (!field.IsNullable) return lazy + " is { Count: > 0 }";
            return field.DefaultIsNull ? name + " is not null" : name + " is null or { Count: > 0 }";
        }

        if (field.Struct is not null)
        {
            if (!field.IsNullable) return lazy + " is not null && !" + lazy + ".IsDefault";
            return field.DefaultIsNull ? name + " is not null" : "(" + name + " is null || !" + name + ".IsDefault)";
        }

        switch (field.TypeName)
        {
            case "string":
                if (field.DefaultIsNull) return name + " is not null";
                return field.Default is { Length: > 0 }
                    ? name + " != " + Literal(field, naming)
                    : name + " is not { Length: 0 }";
            case "uuid": return name + " != Uuid.Zero";
            case "bytes":
                if (!field.IsNullable) return "!" + name + ".IsEmpty";
                return field.DefaultIsNull ? name + " is not null" : name + " is not { IsEmpty: true }";
            case "bool": return field.Default == "true" ? "!" + name : name;
            case "records": return name + " is not null";
            case "float64": return "!" + name + ".Equals(" + Literal(field, naming) + ")";
            default: return name + " != " + Literal(field, naming);
        }
    }

    /// <summary>The initial value of the property as C# text, or empty when the type's own will do.</summary>
    public static string Initial(FieldSpec field, Naming naming)
    {
        if (Naming.IsLazy(field) || field.DefaultIsNull) return "";
        if (field.IsArray) return "[]";
        if (field.Struct is not null) return "new()";
        if (field.TypeName == "string") return Literal(field, naming);
        if (field.TypeName == "bytes") return field.IsNullable ? "ReadOnlyMemory<byte>.Empty" : "";
        return field.Default is null or "0" or "false" ? "" : Literal(field, naming);
    }

    private static string Literal(FieldSpec field, Naming naming)
    {
        string text = field.Default ?? "";
        string? enumType = naming.EnumOf(field);
        switch (field.TypeName)
        {
            case "string": return "\"" + text.Replace("\\", "\\\\") + "\"";
            case "bool": return text.Length == 0 ? "false" : text;
            case "float64": return (text.Length == 0 ? "0" : text) + "d";
            case "int64" when text == "-9223372036854775808": return "long.MinValue";
            case "int64": return (text.Length == 0 ? "0" : text) + "L";
            default:
                string number = text.Length == 0 ? "0" : text;
                return enumType is null ? number : "(" + enumType + ")(" + number + ")";
        }
    }

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
