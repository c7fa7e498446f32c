namespace KBroker.Protocol.Generator.Spec;

/// <summary>The wire types of the notation.</summary>
internal static class FieldTypes
{
    /// <summary>Whether a name is a wire type, so that it cannot be a struct's.</summary>
    public static bool IsPrimitive(string name) => FixedSize(name) > 0 || IsVariable(name);

    /// <summary>The bytes a fixed-size type has on the wire, 0 of other types.</summary>
    public static int FixedSize(string name) => name switch
    {
        "bool" or "int8" => 1,
        "int16" or "uint16" => 2,
        "int32" or "uint32" => 4,
        "int64" or "float64" => 8,
        "uuid" => 16,
        _ => 0,
    };

    /// <summary>Whether a type has a length before its bytes.</summary>
    public static bool IsVariable(string name) => name is "string" or "bytes" or "records";

    /// <summary>Whether a type may stand in an array.</summary>
    public static bool CanBeElement(string name) =>
        name is "int8" or "int16" or "int32" or "int64" or "uuid" or "string" || !IsPrimitive(name);

    /// <summary>Whether a type is an integer; then with its bounds.</summary>
    public static bool IsInteger(string name, out long lowest, out long highest)
    {
        (bool isInteger, lowest, highest) = name switch
        {
            "int8" => (true, sbyte.MinValue, sbyte.MaxValue),
            "int16" => (true, short.MinValue, short.MaxValue),
            "uint16" => (true, ushort.MinValue, ushort.MaxValue),
            "int32" => (true, int.MinValue, int.MaxValue),
            "uint32" => (true, uint.MinValue, uint.MaxValue),
            "int64" => (true, long.MinValue, long.MaxValue),
            _ => (false, 0L, 0L),
        };
        return isInteger;
    }
}
