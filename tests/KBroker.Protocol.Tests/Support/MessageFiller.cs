using System.Collections;
using KBroker.Protocol.Generator.Spec;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Tests.Messages;
using RecordData = KBroker.Protocol.Records.Records;

namespace KBroker.Protocol.Tests.Support;

/// <summary>Makes messages with random values in every field that a version has.</summary>
internal sealed class MessageFiller(Random random)
{
    private static readonly string[] Texts = ["", "a", "topic-1", "größe", "日本", "😀", new string('x', 130)];
    private static readonly long[] Numbers = [0, 1, -1, 127, 128, 255, 32767, int.MaxValue, long.MaxValue];

    public IMessage Create(MessageSpec spec, short version)
    {
        var message = (IMessage)Activator.CreateInstance(Specs.ClassOf(spec.Name))!;
        Fill(message, spec.Root, version, 0);
        return message;
    }

    private void Fill(object target, StructSpec spec, short version, int depth)
    {
        foreach (var field in spec.Fields)
        {
            if (!field.Versions.Contains(version)) continue;
            if (field.IsTagged && random.Next(3) == 0) continue;
            var property = target.GetType().GetProperty(field.Name)!;
            if (field.Nullable.Contains(version) && random.Next(4) == 0)
            {
                property.SetValue(target, null);
                continue;
            }

            var type = Nullable.GetUnderlyingType(property.PropertyType) ?? property.PropertyType;
            if (!field.IsArray)
            {
                property.SetValue(target, Value(field, type, version, depth));
                continue;
            }

            var list = (IList)Activator.CreateInstance(type)!;
            for (int count = random.Next(4 - Math.Min(depth, 2)); count > 0; count--)
                list.Add(Value(field, type.GenericTypeArguments[0], version, depth));
            property.SetValue(target, list);
        }
    }

    private object Value(FieldSpec field, Type type, short version, int depth)
    {
        if (field.Struct is not null)
        {
            object value = Activator.CreateInstance(type)!;
            Fill(value, field.Struct, version, depth + 1);
            return value;
        }

        return field.TypeName switch
        {
            "string" => Texts[random.Next(Texts.Length)],
            "bool" => random.Next(2) == 0,
            "uuid" => new Uuid(random.NextInt64(), random.NextInt64()),
            "bytes" => (ReadOnlyMemory<byte>)Bytes(),
            "records" => new RecordData(Bytes()),
            "float64" => random.NextDouble(),
            _ => Number(type),
        };
    }

    private object Number(Type type)
    {
        long value = Numbers[random.Next(Numbers.Length)];
        if (type.IsEnum) return Enum.ToObject(type, (short)value);
        if (type == typeof(sbyte)) return (sbyte)value;
        if (type == typeof(short)) return (short)value;
        if (type == typeof(ushort)) return (ushort)value;
        if (type == typeof(int)) return (int)value;
        if (type == typeof(uint)) return (uint)value;
        return value;
    }

    private byte[] Bytes()
    {
        byte[] bytes = new byte[random.Next(3) * 60];
        random.NextBytes(bytes);
        return bytes;
    }
}
