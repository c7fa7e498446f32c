using System.Buffers;
using KBroker.Server.Net.Framing;

namespace KBroker.Server.Tests.Net;

public sealed class FrameReaderTests
{
    [Fact]
    public void Frames_are_cut_whatever_the_segments()
    {
        byte[] stream = [0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 1, 9];
        for (var split = 0; split <= stream.Length; split++)
        {
            var buffer = Sequence(stream[..split], stream[split..]);
            Assert.True(FrameReader.TryRead(ref buffer, 3, out var frame, out _));
            Assert.Equal([1, 2, 3], frame.ToArray());
            Assert.True(FrameReader.TryRead(ref buffer, 3, out frame, out _));
            Assert.Equal(0, frame.Length);
            Assert.True(FrameReader.HasShortFrame(buffer, 1));
            Assert.True(FrameReader.TryRead(ref buffer, 3, out frame, out _));
            Assert.Equal([9], frame.ToArray());
            Assert.False(FrameReader.TryRead(ref buffer, 3, out _, out _));
        }
    }

    [Fact]
    public void A_part_of_a_frame_tells_how_much_is_missing()
    {
        byte[] stream = [0, 0, 0, 10, 1, 2, 3];
        var buffer = new ReadOnlySequence<byte>(stream);
        Assert.False(FrameReader.TryRead(ref buffer, 10, out _, out var missing));
        Assert.Equal(7, missing);
        Assert.Equal(stream.Length, buffer.Length);
        buffer = new ReadOnlySequence<byte>(stream, 0, 3);
        Assert.False(FrameReader.TryRead(ref buffer, 10, out _, out missing));
        Assert.Equal(0, missing);
    }

    [Theory]
    [InlineData(new byte[] { 0xff, 0xff, 0xff, 0xff }, "negative")]
    [InlineData(new byte[] { 0, 0, 0, 11 }, "larger than socket.request.max.bytes (10)")]
    [InlineData(new byte[] { 0x16, 3, 1, 2 }, "TLS")]
    [InlineData(new byte[] { (byte)'G', (byte)'E', (byte)'T', (byte)' ' }, "HTTP")]
    public void A_size_that_cannot_be_is_refused_before_anything_is_read(byte[] size, string reason)
    {
        var buffer = new ReadOnlySequence<byte>(size);
        var error = Assert.Throws<InvalidFrameException>(() => FrameReader.TryRead(ref buffer, 10, out _, out _));
        Assert.Contains(reason, error.Message, StringComparison.Ordinal);
    }

    private static ReadOnlySequence<byte> Sequence(byte[] first, byte[] second)
    {
        var head = new Segment(first, 0);
        var tail = new Segment(second, first.Length);
        head.Link(tail);
        return new ReadOnlySequence<byte>(head, 0, tail, second.Length);
    }

    private sealed class Segment : ReadOnlySequenceSegment<byte>
    {
        public Segment(byte[] bytes, long runningIndex)
        {
            Memory = bytes;
            RunningIndex = runningIndex;
        }

        public void Link(Segment next) => Next = next;
    }
}
