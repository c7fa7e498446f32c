using System;
using KBroker.Protocol.Generator.Spec;

namespace KBroker.Protocol.Generator.Emit;

/// <summary>
/// The fewest bytes an array element can take on the wire, in whatever version: an array cannot have more elements
/// than what is left of the input holds of these.
/// </summary>
internal static class MinimumSize
{
    public static int Of(MessageSpec message, StructSpec item)
    {
        int least = int.MaxValue;
        for (int version = item.Versions.Lowest; version <= item.Versions.Highest; version++)
            least = Math.Min(least, At(message, item, version));
        return Math.Max(1, least);
    }

    private static int At(MessageSpec message, StructSpec item, int version)
    {
        bool flexible = message.IsFlexible(version);
        int size = flexible ? 1 : 0;
        foreach (FieldSpec field in item.Fields)
        {
            if (field.Versions.Contains(version) && !field.IsTagged) size += At(message, field, version, flexible);
        }

        return size;
    }

    private static int At(MessageSpec message, FieldSpec field, int version, bool flexible)
    {
        if (field.IsArray) return flexible ? 1 : 4;
        if (field.Struct is not null)
            return field.Nullable.Contains(version) ? 1 : At(message, field.Struct, version);
        int fixedSize = FieldTypes.FixedSize(field.TypeName);
        if (fixedSize > 0) return fixedSize;
        if (field.TypeName == "string") return flexible && !field.IsInflexible ? 1 : 2;
        return flexible ? 1 : 4;
    }
}
