using System.Collections.Concurrent;
using System.Runtime.InteropServices;

namespace KBroker.Protocol.Records;

/// <summary>A compression context that a native library allocated.</summary>
internal sealed unsafe class NativeContext : SafeHandle
{
    private readonly delegate* unmanaged[Cdecl]<void*, nuint> _free;

    public NativeContext(void* pointer, delegate* unmanaged[Cdecl]<void*, nuint> free)
        : base(0, ownsHandle: true)
    {
        _free = free;
        SetHandle((nint)pointer);
    }

    public override bool IsInvalid => handle == 0;

    public void* Pointer => (void*)handle;

    protected override bool ReleaseHandle()
    {
        _free((void*)handle);
        return true;
    }
}

/// <summary>Idle contexts of one kind, so that an operation need not allocate its own. Bounded; thread-safe.</summary>
/// <remarks>
/// Who takes a context owns it: it comes back by <see cref="Return"/>, or is disposed after a failure and never used
/// again.
/// </remarks>
internal sealed class NativeContextPool(Func<NativeContext> create) : IDisposable
{
    private static readonly int MaxIdle = Environment.ProcessorCount * 2;
    private readonly ConcurrentQueue<NativeContext> _idle = new();

    public NativeContext Take()
    {
        if (_idle.TryDequeue(out var context))
            return context;
        context = create();
        return context.IsInvalid ? throw new OutOfMemoryException("No memory for a compression context.") : context;
    }

    public void Return(NativeContext context)
    {
        if (_idle.Count < MaxIdle)
            _idle.Enqueue(context);
        else
            context.Dispose();
    }

    public void Dispose()
    {
        while (_idle.TryDequeue(out var context))
            context.Dispose();
    }
}
