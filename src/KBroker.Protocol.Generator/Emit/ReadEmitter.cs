using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using KBroker.Protocol.Generator.Spec;

namespace KBroker.Protocol.Generator.Emit;

/// <summary>Writes the body of a <c>Read</c> method.</summary>
internal sealed class ReadEmitter
{
    private readonly MessageSpec _message;
    private readonly Naming _naming;
    private readonly CodeWriter _code;

    public ReadEmitter(MessageSpec message, Naming naming, CodeWriter code)
    {
        _message = message;
        _naming = naming;
        _code = code;
    }

    public void Emit(StructSpec item)
    {
        _code.Line("var m = new " + _naming.ClassOf(item) + "();");
        string flexible = MessageEmitter.EmitFlexible(_code, _message, item);
        foreach (FieldSpec field in item.Fields)
        {
            if (!field.IsTagged) EmitField(item, field, flexible);
        }

        EmitTags(item, flexible);
        _code.Line("return m;");
    }

    private void EmitField(StructSpec owner, FieldSpec field, string flexible)
    {
        string condition = Conditions.In(field.Versions, owner.Versions);
        string nullable = Conditions.In(field.Nullable, field.Versions);
        if (field.IsArray && field.Struct is not null)
        {
            if (condition.Length > 0) _code.Open("if (" + condition + ")");
            else _code.Open("");
            EmitStructArray(field, flexible, nullable);
            _code.Close();
            return;
        }

        _code.Line(Conditions.If(condition) + Assign(field, Value(field, flexible, nullable)));
    }

    private void EmitStructArray(FieldSpec field, string flexible, string nullable)
    {
        string arguments = "(" + flexible + ", " + Number(MinimumSize.Of(_message, field.Struct!)) + ")";
        string plain = "r.ReadArrayCount" + arguments;
        string orNull = "r.ReadNullableArrayCount" + arguments;
        string element = _naming.Qualified(field);
        string count = !field.IsNullable ? plain
            : nullable.Length == 0 ? orNull
            : nullable + " ? " + orNull + " : " + plain;
        _code.Line("int n = " + count + ";");
        string target = "m." + (Naming.IsLazy(field) ? Naming.Backing(field) : field.Name);
        if (field.IsNullable && !field.DefaultIsNull) _code.Line(target + " = null;");
        _code.Open(field.IsNullable ? "if (n >= 0)" : "if (n > 0)");
        _code.Line("var a = new List<" + element + ">(n);");
        _code.Line("for (int i = 0; i < n; i++) a.Add(" + element + ".Read(ref r, version));");
        _code.Line(target + " = a;");
        _code.Close();
    }

    private static string Assign(FieldSpec field, string value) =>
        "m." + (Naming.IsLazy(field) ? Naming.Backing(field) : field.Name) + " = " + value + ";";

    private string Value(FieldSpec field, string flexible, string nullable)
    {
        if (field.IsArray) return PrimitiveArray(field, flexible, nullable);
        if (field.Struct is not null) return Struct(field, nullable, "r.ReadInt8() < 0");
        string suffix = Naming.MethodSuffix(field.TypeName);
        if (FieldTypes.FixedSize(field.TypeName) > 0)
        {
            string? enumType = _naming.EnumOf(field);
            return (enumType is null ? "" : "(" + enumType + ")") + "r.Read" + suffix + "()";
        }

        string argument = "(" + (field.IsInflexible ? "false" : flexible) + ")";
        if (field.IsZeroCopy) suffix += "Slice";
        string plain = "r.Read" + suffix + argument;
        if (!field.IsNullable) return plain;
        string orNull = "r.ReadNullable" + suffix + argument;
        return nullable.Length == 0 ? orNull : nullable + " ? " + orNull + " : " + plain;
    }

    private static string PrimitiveArray(FieldSpec field, string flexible, string nullable)
    {
        string suffix = Naming.MethodSuffix(field.TypeName) + "List(" + flexible + ")";
        string plain = "r.Read" + suffix;
        if (!field.IsNullable) return plain;
        string orNull = "r.ReadNullable" + suffix;
        return nullable.Length == 0 ? orNull : nullable + " ? " + orNull + " : " + plain + " ?? []";
    }

    private string Struct(FieldSpec field, string nullable, string isNull)
    {
        string read = _naming.Qualified(field) + ".Read(ref r, version)";
        return field.IsNullable ? Conditions.And(nullable, isNull) + " ? null : " + read : read;
    }

    private void EmitTags(StructSpec item, string flexible)
    {
        if (flexible == "false") return;
        List<FieldSpec> tagged = item.Fields.Where(f => f.IsTagged).OrderBy(f => f.Tag).ToList();
        string condition = flexible == "true" ? "" : flexible;
        if (tagged.Count == 0)
        {
            _code.Line(Conditions.If(condition) + "m.UnknownTaggedFields = r.ReadUnknownTaggedFields();");
            return;
        }

        if (condition.Length > 0) _code.Open("if (" + condition + ")");
        _code.Open("for (int tags = r.ReadTagCount(); tags > 0; tags--)");
        _code.Line("int tag = r.ReadTag(out int size);");
        _code.Line("long end = r.Consumed + size;");
        string otherwise = "";
        foreach (FieldSpec field in tagged)
        {
            string inVersions = Conditions.In(field.Versions, FlexiblePart(item));
            string test = Conditions.And("tag == " + Number(field.Tag), inVersions);
            _code.Open(otherwise + "if (" + test + ")");
            EmitTaggedValue(field);
            _code.Line("r.EndTag(end);");
            _code.Close();
            otherwise = "else ";
        }

        _code.Line("else (m.UnknownTaggedFields ??= []).Add(r.ReadUnknownTaggedField(tag, size));");
        _code.Close();
        if (condition.Length > 0) _code.Close();
    }

    private VersionRange FlexiblePart(StructSpec item) => item.Versions.Intersect(_message.Flexible);

    private void EmitTaggedValue(FieldSpec field)
    {
        string nullable = Conditions.In(field.Nullable, field.Versions);
        if (field.IsArray && field.Struct is not null) EmitStructArray(field, "true", nullable);
        else if (field.Struct is not null && !field.IsArray)
            _code.Line(Assign(field, Struct(field, nullable, "r.ReadUnsignedVarint() == 0")));
        else
            _code.Line(Assign(field, Value(field, "true", nullable)));
    }

    private static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);
}
