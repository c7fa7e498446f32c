using KBroker.Protocol.Records;
using KBroker.Server.Net;

namespace KBroker.Server.Tests.Net;

/// <summary>A file of random bytes, regions of it, and a count of those not given up yet.</summary>
internal sealed class TestFile : IDisposable
{
    private readonly string _path = Path.Combine(Path.GetTempPath(), $"kbroker-net-{Guid.NewGuid():n}");
    private readonly FileStream _stream;
    private int _open;

    public TestFile(int length, int seed = 1)
    {
        Bytes = new byte[length];
        new Random(seed).NextBytes(Bytes);
        File.WriteAllBytes(_path, Bytes);
        var handle = File.OpenHandle(
            _path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, FileOptions.Asynchronous);
        _stream = new FileStream(handle, FileAccess.Read, bufferSize: 0);
    }

    public byte[] Bytes { get; }

    public int OpenRegions => Volatile.Read(ref _open);

    public IRecordsRegion Region(int position, int length, bool sendable = true)
    {
        Interlocked.Increment(ref _open);
        return sendable ? new Sendable(this, position, length) : new Readable(this, position, length);
    }

    public void Truncate(int length)
    {
        using var file = new FileStream(_path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
        file.SetLength(length);
    }

    public void Dispose()
    {
        _stream.Dispose();
        File.Delete(_path);
    }

    private class Readable(TestFile file, int position, int length) : IRecordsRegion
    {
        private int _disposed;

        public int Length => length;

        protected TestFile Owner => file;

        protected int Position => position;

        public void Read(int at, Span<byte> destination) =>
            file.Bytes.AsSpan(position + at, destination.Length).CopyTo(destination);

        public void Dispose()
        {
            Assert.Equal(0, Interlocked.Exchange(ref _disposed, 1));
            Interlocked.Decrement(ref file._open);
        }
    }

    private sealed class Sendable(TestFile file, int position, int length)
        : Readable(file, position, length), ISendableRegion
    {
        FileStream ISendableRegion.Stream => Owner._stream;

        long ISendableRegion.Position => Position;
    }
}
