using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using KBroker.Protocol.Generator.Spec;

namespace KBroker.Protocol.Generator.Emit;

/// <summary>Writes the body of a <c>Write</c> method.</summary>
internal sealed class WriteEmitter
{
    private readonly MessageSpec _message;
    private readonly Naming _naming;
    private readonly CodeWriter _code;

    public WriteEmitter(MessageSpec message, Naming naming, CodeWriter code)
    {
        _message = message;
        _naming = naming;
        _code = code;
    }

    public void Emit(StructSpec item)
    {
        string flexible = MessageEmitter.EmitFlexible(_code, _message, item);
        foreach (FieldSpec field in item.Fields)
        {
            if (!field.IsTagged) EmitField(item, field, flexible);
        }

        EmitTags(item, flexible);
    }

    private void EmitField(StructSpec owner, FieldSpec field, string flexible)
    {
        string condition = Conditions.In(field.Versions, owner.Versions);
        string nullable = Conditions.In(field.Nullable, field.Versions);
        if (field.Struct is not null)
        {
            _code.Open(condition.Length > 0 ? "if (" + condition + ")" : "");
            if (field.IsArray) EmitStructArray(field, flexible, nullable);
            else EmitStruct(field, nullable, false);
            _code.Close();
            return;
        }

        EmitValue(field, flexible, condition, nullable);
    }

    private void EmitValue(FieldSpec field, string flexible, string condition, string nullable)
    {
        string name = Naming.IsLazy(field) ? Naming.Backing(field) : field.Name;
        string suffix = Naming.MethodSuffix(field.TypeName);
        if (!field.IsArray && FieldTypes.FixedSize(field.TypeName) > 0)
        {
            string cast = _naming.EnumOf(field) is null ? "" : "(short)";
            _code.Line(Conditions.If(condition) + "w.Write" + suffix + "(" + cast + name + ");");
            return;
        }

        if (field.IsArray) suffix += "List";
        string arguments = "(" + name + ", " + (field.IsInflexible ? "false" : flexible) + ");";
        string plain = "w.Write" + suffix + arguments;
        string orNull = "w.WriteNullable" + suffix + arguments;
        if (!field.IsNullable || nullable.Length == 0)
        {
            _code.Line(Conditions.If(condition) + (field.IsNullable ? orNull : plain));
            return;
        }

        _code.Line(Conditions.If(Conditions.And(condition, nullable)) + orNull);
        _code.Line("else " + Conditions.If(condition) + plain);
    }

    private void EmitStructArray(FieldSpec field, string flexible, string nullable)
    {
        string name = Naming.IsLazy(field) ? Naming.Backing(field) : field.Name;
        _code.Line("var a = " + name + ";");
        string missing = !field.IsNullable ? "0"
            : nullable.Length == 0 ? "-1"
            : "(" + nullable + " ? -1 : throw ProtocolWriter.NullNotAllowed(\"" + field.Name + "\", version))";
        _code.Line("w.WriteArrayCount(a?.Count ?? " + missing + ", " + flexible + ");");
        _code.Line("if (a is not null)");
        _code.Line("    for (int i = 0; i < a.Count; i++) a[i].Write(w, version);");
    }

    private void EmitStruct(FieldSpec field, string nullable, bool inTag)
    {
        if (!field.IsNullable)
        {
            _code.Line(field.Name + ".Write(w, version);");
            return;
        }

        string absent = inTag ? "w.WriteUnsignedVarint(0);" : "w.WriteInt8(-1);";
        string present = inTag ? "w.WriteUnsignedVarint(1);" : "w.WriteInt8(1);";
        if (nullable.Length > 0)
            _code.Line("if (" + field.Name + " is null && !(" + nullable + ")) throw ProtocolWriter.NullNotAllowed(\""
                + field.Name + "\", version);");
        _code.Line("if (" + field.Name + " is null) " + absent);
        _code.Open("else");
        _code.Line(Conditions.If(nullable) + present);
        _code.Line(field.Name + ".Write(w, version);");
        _code.Close();
    }

    private void EmitTags(StructSpec item, string flexible)
    {
        if (flexible == "false") return;
        List<FieldSpec> tagged = item.Fields.Where(f => f.IsTagged).OrderBy(f => f.Tag).ToList();
        string condition = flexible == "true" ? "" : flexible;
        if (tagged.Count == 0)
        {
            _code.Line(Conditions.If(condition) + "w.WriteUnknownTaggedFields(UnknownTaggedFields);");
            return;
        }

        if (condition.Length > 0) _code.Open("if (" + condition + ")");
        VersionRange known = item.Versions.Intersect(_message.Flexible);
        string count = "UnknownTaggedFields?.Count ?? 0";
        foreach (FieldSpec field in tagged)
        {
            string tag = Number(field.Tag);
            string notDefault = Wrap(Conditions.NotDefault(field, _naming));
            string test = Conditions.And(Conditions.In(field.Versions, known), notDefault);
            _code.Line("bool has" + tag + " = " + test + ";");
        }

        count = string.Concat(tagged.Select(f => "(has" + Number(f.Tag) + " ? 1 : 0) + ")) + "(" + count + ")";
        _code.Line("w.WriteUnsignedVarint((uint)(" + count + "));");
        _code.Line("int unknown = 0;");
        foreach (FieldSpec field in tagged)
        {
            string tag = Number(field.Tag);
            _code.Open("if (has" + tag + ")");
            if (field.Tag > 0)
                _code.Line("unknown = w.WriteUnknownTaggedFieldsBelow(UnknownTaggedFields, unknown, " + tag + ");");
            _code.Line("w.BeginTaggedField(" + tag + ", out var mark);");
            string nullable = Conditions.In(field.Nullable, field.Versions);
            if (field.Struct is null) EmitValue(field, "true", "", nullable);
            else if (field.IsArray) EmitStructArray(field, "true", nullable);
            else EmitStruct(field, nullable, true);
            _code.Line("w.EndTaggedField(mark);");
            _code.Close();
        }

        _code.Line("w.WriteUnknownTaggedFieldsBelow(UnknownTaggedFields, unknown, int.MaxValue);");
        if (condition.Length > 0) _code.Close();
    }

    private static string Wrap(string condition) => condition.Contains(" or ") ? "(" + condition + ")" : condition;

    private static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);
}
