using System.Collections.Generic;
using System.Globalization;
using KBroker.Protocol.Generator.Spec;

namespace KBroker.Protocol.Generator.Emit;

/// <summary>C# names and types for what a spec names.</summary>
internal sealed class Naming
{
    private readonly MessageSpec _message;
    private readonly IReadOnlyDictionary<string, string> _enums;

    public Naming(MessageSpec message, IReadOnlyDictionary<string, string> enums)
    {
        _message = message;
        _enums = enums;
    }

    /// <summary>
    /// The name of a struct's class: its own, or with the suffix <c>Data</c> where a property of the message, or of the
    /// struct, has that name already.
    /// </summary>
    public string ClassOf(StructSpec item)
    {
        if (item == _message.Root) return item.Name;
        foreach (FieldSpec field in _message.Root.Fields)
        {
            if (field.Name == item.Name) return item.Name + "Data";
        }

        foreach (FieldSpec field in item.Fields)
        {
            if (field.Name == item.Name) return item.Name + "Data";
        }

        return item.Name;
    }

    /// <summary>The enum a field is typed with, or null.</summary>
    public string? EnumOf(FieldSpec field) =>
        field.Domain is not null && !field.IsArray && _enums.TryGetValue(field.Domain, out string? type) ? type : null;

    /// <summary>
    /// The class of a struct field, qualified by the message: inside a struct, a property may have the name of its
    /// type, and would be taken for it.
    /// </summary>
    public string Qualified(FieldSpec field) => _message.Name + "." + ClassOf(field.Struct!);

    /// <summary>The C# type of a value or of an array's element, without a question mark.</summary>
    public string ElementType(FieldSpec field) => field.TypeName switch
    {
        "bool" => "bool",
        "int8" => "sbyte",
        "int16" => EnumOf(field) ?? "short",
        "uint16" => "ushort",
        "int32" => "int",
        "uint32" => "uint",
        "int64" => "long",
        "float64" => "double",
        "string" => "string",
        "uuid" => "Uuid",
        "bytes" => "ReadOnlyMemory<byte>",
        "records" => "global::KBroker.Protocol.Records.Records",
        _ => ClassOf(field.Struct!),
    };

    /// <summary>The C# type of the property.</summary>
    public string PropertyType(FieldSpec field)
    {
        string element = ElementType(field);
        if (field.IsArray) return field.IsNullable ? "List<" + element + ">?" : "List<" + element + ">";
        return field.IsNullable || field.TypeName == "records" ? element + "?" : element;
    }

    /// <summary>
    /// Whether the property creates its value when it is first read: never-null lists and structs, which are mostly
    /// replaced or left alone, so that an eager one would be garbage.
    /// </summary>
    public static bool IsLazy(FieldSpec field) => !field.IsNullable && (field.IsArray || field.Struct is not null);

    /// <summary>The backing field of a lazy property.</summary>
    public static string Backing(FieldSpec field) =>
        "_" + char.ToLowerInvariant(field.Name[0]).ToString(CultureInfo.InvariantCulture) + field.Name.Substring(1);

    /// <summary>The suffix of the reader's and writer's methods of a wire type.</summary>
    public static string MethodSuffix(string typeName) => typeName switch
    {
        "bool" => "Boolean",
        "int8" => "Int8",
        "int16" => "Int16",
        "uint16" => "UInt16",
        "int32" => "Int32",
        "uint32" => "UInt32",
        "int64" => "Int64",
        "float64" => "Float64",
        "string" => "String",
        "uuid" => "Uuid",
        "bytes" => "Bytes",
        _ => "Records",
    };
}
