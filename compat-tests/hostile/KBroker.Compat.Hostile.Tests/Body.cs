using System.Buffers.Binary;
using System.Text;

namespace KBroker.Compat.Hostile.Tests;

/// <summary>A request body written by hand, big-endian; nothing checks what is put into it.</summary>
internal sealed class Body
{
    private readonly MemoryStream _bytes = new();

    public Body Int8(int value) => Raw([(byte)value]);

    public Body Int16(int value)
    {
        var bytes = new byte[2];
        BinaryPrimitives.WriteInt16BigEndian(bytes, unchecked((short)value));
        return Raw(bytes);
    }

    public Body Int32(int value)
    {
        var bytes = new byte[4];
        BinaryPrimitives.WriteInt32BigEndian(bytes, value);
        return Raw(bytes);
    }

    public Body Int64(long value)
    {
        var bytes = new byte[8];
        BinaryPrimitives.WriteInt64BigEndian(bytes, value);
        return Raw(bytes);
    }

    public Body Text(string value) => Int16(Encoding.UTF8.GetByteCount(value)).Raw(Encoding.UTF8.GetBytes(value));

    public Body Raw(ReadOnlySpan<byte> bytes)
    {
        _bytes.Write(bytes);
        return this;
    }

    public byte[] ToArray() => _bytes.ToArray();
}
