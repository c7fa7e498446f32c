using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using KBroker.Protocol.Records;

namespace KBroker.Storage.Cleaning;

/// <summary>
/// The newest offset of each key in the dirty part of a log: 24 bytes a key (16 of hash, 8 of offset), in one block of
/// memory outside the managed heap, open addressing. It takes what it is given and no more: when it is full the pass
/// ends at that offset, and the next one goes on there.
/// </summary>
/// <remarks>
/// The block comes from the system zeroed, so pages that no key touches cost nothing. Used by one thread.
/// </remarks>
internal sealed unsafe class OffsetMap : IDisposable
{
    /// <summary>Bytes of a slot.</summary>
    public const int SlotBytes = 24;

    private readonly KeyHash _hash;
    private readonly long _maxCount;
    private Slot* _slots;

    /// <summary>Takes the memory.</summary>
    /// <param name="slots">Number of slots.</param>
    /// <param name="loadFactor">Which share of them may be filled, above 0 and below 1.</param>
    /// <param name="hash">The hash of keys.</param>
    public OffsetMap(long slots, double loadFactor, KeyHash hash)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(slots, 2);
        Slots = slots;
        _hash = hash;
        // One slot stays free, so that a search ends.
        _maxCount = Math.Clamp((long)(slots * loadFactor), 1, slots - 1);
        _slots = (Slot*)NativeMemory.AllocZeroed((nuint)slots, SlotBytes);
    }

    /// <summary>Frees the memory of a map that was not disposed.</summary>
    ~OffsetMap() => Free();

    /// <summary>Number of slots.</summary>
    public long Slots { get; }

    /// <summary>Number of keys.</summary>
    public long Count { get; private set; }

    /// <summary>The last offset that the map knows of: the dirty part is in it up to here.</summary>
    public long LatestOffset { get; private set; } = -1;

    /// <summary>The share of slots that are filled.</summary>
    public double Utilization => (double)Count / Slots;

    /// <summary>The hash of a key that is asked for soon: its place in memory is on its way to the processor.</summary>
    public HashedKey Foresee(ReadOnlySpan<byte> key)
    {
        ObjectDisposedException.ThrowIf(_slots is null, this);
        var (low, high) = _hash.Compute(key);
        if (Sse.IsSupported)
            Sse.Prefetch0(_slots + Home(low));
        return new HashedKey(low, high);
    }

    /// <summary>Notes the newest offset of a key.</summary>
    /// <returns>False when the key is new and the map is full: nothing was noted.</returns>
    public bool TryPut(HashedKey key, long offset)
    {
        var slot = Find(key);
        if (slot->OffsetPlusOne == 0)
        {
            if (Count == _maxCount)
                return false;
            (slot->Low, slot->High) = (key.Low, key.High);
            Count++;
        }

        slot->OffsetPlusOne = offset + 1;
        LatestOffset = offset;
        return true;
    }

    /// <summary>The newest offset of a key; -1 when the map does not know the key.</summary>
    public long Get(HashedKey key) => Find(key)->OffsetPlusOne - 1;

    /// <summary>Notes that everything up to an offset was looked at.</summary>
    public void AdvanceTo(long offset) => LatestOffset = Math.Max(LatestOffset, offset);

    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ulong Home(ulong low) => Math.BigMul(low, (ulong)Slots, out _);

    /// <summary>The slot of a key, or the free one where it belongs.</summary>
    private Slot* Find(HashedKey key)
    {
        ObjectDisposedException.ThrowIf(_slots is null, this);
        var index = Home(key.Low);
        while (true)
        {
            var slot = _slots + index;
            if (slot->OffsetPlusOne == 0 || (slot->High == key.High && slot->Low == key.Low))
                return slot;
            if (++index == (ulong)Slots)
                index = 0;
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Free()
    {
        NativeMemory.Free(_slots);
        _slots = null;
    }

    [StructLayout(LayoutKind.Sequential, Size = SlotBytes)]
    private struct Slot
    {
        public ulong Low;
        public ulong High;
        public long OffsetPlusOne;
    }
}

/// <summary>The hash of a key, by which an <see cref="OffsetMap"/> knows it.</summary>
internal readonly record struct HashedKey(ulong Low, ulong High);

/// <summary>The hashes of the records that a filter was shown.</summary>
[InlineArray(RecordBatchFilter.Window)]
internal struct HashedKeys
{
    private HashedKey _first;
}
