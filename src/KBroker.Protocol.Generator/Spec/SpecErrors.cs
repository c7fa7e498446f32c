namespace KBroker.Protocol.Generator.Spec;

/// <summary>The ids of spec errors, as the compiler shows them.</summary>
internal static class SpecErrors
{
    public const string Syntax = "KSPEC001";
    public const string Indentation = "KSPEC002";
    public const string UnknownType = "KSPEC003";
    public const string Duplicate = "KSPEC004";
    public const string Versions = "KSPEC005";
    public const string Default = "KSPEC006";
    public const string Tag = "KSPEC007";
    public const string DuplicateNumber = "KSPEC008";
    public const string Domain = "KSPEC009";
    public const string Structure = "KSPEC010";

    public static readonly string[] All =
    {
        Syntax, Indentation, UnknownType, Duplicate, Versions, Default, Tag, DuplicateNumber, Domain, Structure,
    };

    public static string Title(string id) => id switch
    {
        Syntax => "The line does not follow the grammar",
        Indentation => "The indentation is wrong",
        UnknownType => "The type is not known",
        Duplicate => "The name is already taken",
        Versions => "The versions are wrong",
        Default => "The default does not fit the type",
        Tag => "The tag is wrong",
        DuplicateNumber => "The number is already taken",
        Domain => "The domain is not known or does not fit",
        _ => "The structure is wrong",
    };
}
