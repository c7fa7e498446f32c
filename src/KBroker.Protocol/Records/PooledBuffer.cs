using System.Buffers;

namespace KBroker.Protocol.Records;

/// <summary>A growing array from the shared pool that codecs and builders write to.</summary>
internal sealed class PooledBuffer : IBufferWriter<byte>, IMemoryOwner<byte>
{
    private const int InitialBytes = 4096;
    private byte[] _array = [];

    public int Length { get; private set; }

    public Memory<byte> Memory => _array.AsMemory(0, Length);

    public Span<byte> Span => _array.AsSpan(0, Length);

    public void Clear() => Length = 0;

    public void Advance(int count)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)count, (uint)(_array.Length - Length), nameof(count));
        Length += count;
    }

    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        Reserve(sizeHint);
        return _array.AsMemory(Length);
    }

    public Span<byte> GetSpan(int sizeHint = 0)
    {
        Reserve(sizeHint);
        return _array.AsSpan(Length);
    }

    public void Dispose()
    {
        var array = _array;
        _array = [];
        Length = 0;
        if (array.Length > 0)
            ArrayPool<byte>.Shared.Return(array);
    }

    private void Reserve(int sizeHint)
    {
        sizeHint = Math.Max(sizeHint, 1);
        if (sizeHint <= _array.Length - Length)
            return;
        var needed = checked(Length + sizeHint);
        var doubled = Math.Min(_array.Length * 2L, Array.MaxLength);
        var larger = ArrayPool<byte>.Shared.Rent((int)Math.Max(Math.Max(needed, doubled), InitialBytes));
        _array.AsSpan(0, Length).CopyTo(larger);
        if (_array.Length > 0)
            ArrayPool<byte>.Shared.Return(_array);
        _array = larger;
    }
}
