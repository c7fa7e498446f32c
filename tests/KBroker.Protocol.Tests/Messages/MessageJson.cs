using System.Collections;
using System.Text.Json;
using System.Text.Json.Nodes;
using KBroker.Protocol.Generator.Spec;
using KBroker.Protocol.Messages;
using RecordData = KBroker.Protocol.Records.Records;

namespace KBroker.Protocol.Tests.Messages;

/// <summary>Messages in the canonical JSON of the vectors: see the README beside them.</summary>
internal static class MessageJson
{
    /// <summary>Renders what a version has; tagged fields at their default are absent.</summary>
    public static JsonObject Render(IMessage message, MessageSpec spec, short version) =>
        RenderStruct(message, spec.Root, version);

    /// <summary>The first difference between two trees as a path and both sides, or null.</summary>
    public static string? Difference(JsonElement expected, JsonNode? actual, string path = "$")
    {
        if (expected.ValueKind == JsonValueKind.Null || actual is null)
            return expected.ValueKind == JsonValueKind.Null && actual is null ? null : Differ(path, expected, actual);
        switch (actual)
        {
            case JsonObject fields:
                if (expected.ValueKind != JsonValueKind.Object) return Differ(path, expected, actual);
                string names = string.Join(",", expected.EnumerateObject().Select(p => p.Name));
                string ours = string.Join(",", fields.Select(p => p.Key));
                if (names != ours) return $"{path}: fields {names}, but read {ours}";
                return expected.EnumerateObject()
                    .Select(p => Difference(p.Value, fields[p.Name], path + "." + p.Name))
                    .FirstOrDefault(d => d is not null);
            case JsonArray items:
                if (expected.ValueKind != JsonValueKind.Array || expected.GetArrayLength() != items.Count)
                    return Differ(path, expected, actual);
                return expected.EnumerateArray()
                    .Select((e, i) => Difference(e, items[i], $"{path}[{i}]"))
                    .FirstOrDefault(d => d is not null);
            default:
                return SameScalar(expected, actual.AsValue()) ? null : Differ(path, expected, actual);
        }
    }

    private static string Differ(string path, JsonElement expected, JsonNode? actual) =>
        $"{path}: expected {expected.GetRawText()}, read {actual?.ToJsonString() ?? "null"}";

    private static bool SameScalar(JsonElement expected, JsonValue actual)
    {
        var kind = expected.ValueKind;
        if (actual.TryGetValue(out bool flag)) return kind == (flag ? JsonValueKind.True : JsonValueKind.False);
        if (actual.TryGetValue(out string? text)) return kind == JsonValueKind.String && expected.GetString() == text;
        if (kind != JsonValueKind.Number) return false;
        if (actual.TryGetValue(out double real))
            return BitConverter.DoubleToInt64Bits(real) == BitConverter.DoubleToInt64Bits(expected.GetDouble());
        return expected.GetInt64() == actual.GetValue<long>();
    }

    private static JsonObject RenderStruct(object value, StructSpec spec, short version)
    {
        var result = new JsonObject();
        foreach (var field in spec.Fields)
        {
            if (!field.Versions.Contains(version)) continue;
            object? fieldValue = value.GetType().GetProperty(field.Name)!.GetValue(value);
            if (field.IsTagged && IsDefault(field, fieldValue, version)) continue;
            string name = char.ToLowerInvariant(field.Name[0]) + field.Name[1..];
            result.Add(name, RenderField(field, fieldValue, version));
        }

        return result;
    }

    private static JsonNode? RenderField(FieldSpec field, object? value, short version)
    {
        if (value is null) return null;
        if (!field.IsArray) return RenderValue(field, value, version);
        var items = new JsonArray();
        foreach (object item in (IEnumerable)value) items.Add(RenderValue(field, item, version));
        return items;
    }

    private static JsonNode RenderValue(FieldSpec field, object value, short version) => value switch
    {
        bool flag => JsonValue.Create(flag),
        string text => JsonValue.Create(text),
        double real => JsonValue.Create(real),
        Uuid uuid => JsonValue.Create(uuid.ToString()),
        ReadOnlyMemory<byte> bytes => JsonValue.Create(Convert.ToBase64String(bytes.Span)),
        RecordData records => JsonValue.Create(Convert.ToBase64String(records.ToArray())),
        _ when field.Struct is not null => RenderStruct(value, field.Struct, version),
        _ => JsonValue.Create(Convert.ToInt64(value)),
    };

    private static bool IsDefault(FieldSpec field, object? value, short version)
    {
        if (value is null) return field.DefaultIsNull;
        if (field.DefaultIsNull) return false;
        if (field.IsArray) return ((ICollection)value).Count == 0;
        if (field.Struct is not null) return IsDefaultStruct(field.Struct, value, version);
        return value switch
        {
            bool flag => flag == (field.Default == "true"),
            string text => text == (field.Default ?? ""),
            Uuid uuid => uuid.IsZero,
            ReadOnlyMemory<byte> bytes => bytes.IsEmpty,
            _ => Convert.ToInt64(value) == long.Parse(field.Default ?? "0"),
        };
    }

    private static bool IsDefaultStruct(StructSpec spec, object value, short version) =>
        spec.Fields.All(f => IsDefault(f, value.GetType().GetProperty(f.Name)!.GetValue(value), version))
        && value.GetType().GetProperty("UnknownTaggedFields")!.GetValue(value) is null;
}
