using System.Buffers;
using KBroker.Protocol.Records;

namespace KBroker.Protocol.Tests.Records;

public sealed class CodecTests
{
    private readonly CompressionCodecs _codecs = new();

    public static TheoryData<CompressionType> Types => [.. Enum.GetValues<CompressionType>()];

    public static TheoryData<CompressionType, int> Levels => new()
    {
        { CompressionType.Gzip, -1 }, { CompressionType.Gzip, 1 }, { CompressionType.Gzip, 9 },
        { CompressionType.Lz4, 1 }, { CompressionType.Lz4, 9 }, { CompressionType.Lz4, 17 },
        { CompressionType.Zstd, -131072 }, { CompressionType.Zstd, -5 }, { CompressionType.Zstd, 22 },
    };

    [Theory]
    [MemberData(nameof(Types))]
    public void Content_of_every_size_and_kind_comes_back(CompressionType type)
    {
        foreach (var content in Contents())
        {
            var compressed = Compress(type, content);
            Assert.Equal(content, Decompress(type, compressed, content.Length));
            Assert.Equal(content, Decompress(type, compressed, content.Length + 1_000_000));
            var output = new ArrayBufferWriter<byte>();
            _codecs.Get(type).Decompress(BatchVectors.Fragment(compressed, 3, 1000), output, content.Length);
            Assert.Equal(content, output.WrittenSpan);
        }
    }

    [Theory]
    [MemberData(nameof(Levels))]
    public void Every_level_of_the_topic_configs_is_taken(CompressionType type, int level)
    {
        foreach (var content in Contents())
        {
            var output = new ArrayBufferWriter<byte>();
            _codecs.Get(type).Compress(content, output, level);
            Assert.Equal(content, Decompress(type, output.WrittenSpan.ToArray(), content.Length));
        }
    }

    [Theory]
    [InlineData(CompressionType.Gzip, 0)]
    [InlineData(CompressionType.Gzip, 10)]
    [InlineData(CompressionType.Lz4, 18)]
    [InlineData(CompressionType.Zstd, 23)]
    [InlineData(CompressionType.Snappy, 1)]
    public void A_level_that_the_codec_does_not_have_is_refused(CompressionType type, int level) =>
        Assert.Throws<ArgumentOutOfRangeException>(() =>
            _codecs.Get(type).Compress(new byte[10], new ArrayBufferWriter<byte>(), level));

    [Theory]
    [MemberData(nameof(Types))]
    public void One_byte_more_than_the_bound_is_refused(CompressionType type)
    {
        foreach (var content in Contents().Where(content => content.Length > 0))
        {
            var compressed = Compress(type, content);
            var error = Assert.Throws<InvalidRecordException>(() => Decompress(type, compressed, content.Length - 1));
            Assert.Contains($"more than {content.Length - 1} bytes", error.Message);
        }
    }

    [Theory]
    [MemberData(nameof(Types))]
    public void A_decompression_bomb_costs_no_more_memory_than_the_bound(CompressionType type)
    {
        const int Bound = 1024 * 1024;
        var bomb = Compress(type, new byte[64 * 1024 * 1024]);
        Drain(type, bomb, Bound);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 3; i++)
            Drain(type, bomb, Bound);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 3 * 4 * Bound);
    }

    [Theory]
    [InlineData(CompressionType.Gzip)]
    [InlineData(CompressionType.Snappy)]
    [InlineData(CompressionType.Lz4)]
    [InlineData(CompressionType.Zstd)]
    public void Cut_or_changed_bytes_are_refused_or_give_no_more_than_the_bound(CompressionType type)
    {
        var random = new Random(11);
        var content = Contents().ElementAt(4);
        var compressed = Compress(type, content);
        for (var cut = 0; cut < compressed.Length; cut += 1 + (cut / 20))
        {
            // A snappy stream may end behind any block.
            var mustFail = type != CompressionType.Snappy;
            DecompressHostile(type, compressed.AsSpan(0, cut).ToArray(), content.Length, mustFail);
        }

        for (var i = 0; i < 2000; i++)
        {
            var changed = compressed.ToArray();
            for (var j = random.Next(1, 4); j > 0; j--)
                changed[random.Next(changed.Length)] = (byte)random.Next(256);
            DecompressHostile(type, changed, content.Length, mustFail: false);
        }

        // The contexts that saw hostile input are not used again, or are reset.
        Assert.Equal(content, Decompress(type, compressed, content.Length));
    }

    [Fact]
    public void Codecs_serve_many_threads_at_once() => Parallel.For(0, 64, i =>
    {
        var type = (CompressionType)(i % 5);
        var content = Contents().ElementAt(i % 6);
        Assert.Equal(content, Decompress(type, Compress(type, content), content.Length));
    });

    [Fact]
    public void A_missing_library_is_named_with_its_package_when_the_codec_is_used()
    {
        using var codecs = new CompressionCodecs(["libno-such-lz4.so.1"], ["libno-such-zstd.so.1"]);
        foreach (var (type, package) in new[] { (CompressionType.Lz4, "liblz4-1"), (CompressionType.Zstd, "libzstd1") })
        {
            Assert.False(codecs.Get(type).IsAvailable(out var reason));
            Assert.Contains(package, reason);
            var error = Assert.Throws<CompressionCodecUnavailableException>(() =>
                codecs.Get(type).Compress(new byte[10], new ArrayBufferWriter<byte>()));
            Assert.Equal(RecordErrorKind.UnsupportedCompressionType, error.Kind);
            Assert.Contains("libno-such", error.Message);
            Assert.Throws<CompressionCodecUnavailableException>(() =>
                codecs.Get(type).Decompress(new byte[10], new ArrayBufferWriter<byte>(), 10));
        }

        Assert.True(codecs.Get(CompressionType.Snappy).IsAvailable(out _));
    }

    [Fact]
    public void A_library_that_lacks_a_function_is_no_crash()
    {
        using var codecs = new CompressionCodecs(ZstdLibrary.FileNames, Lz4Library.FileNames);
        Assert.False(codecs.Get(CompressionType.Lz4).IsAvailable(out var reason));
        Assert.Contains("LZ4F_", reason);
        Assert.False(codecs.Get(CompressionType.Zstd).IsAvailable(out reason));
        Assert.Contains("ZSTD_", reason);
    }

    [Theory]
    [InlineData(5)]
    [InlineData(7)]
    [InlineData(-1)]
    public void Unassigned_codec_numbers_are_refused(int type)
    {
        var error = Assert.Throws<InvalidRecordException>(() => _codecs.Get((CompressionType)type));
        Assert.Equal(RecordErrorKind.UnsupportedCompressionType, error.Kind);
    }

    [Fact]
    public void Several_gzip_members_are_one_content()
    {
        var member = Compress(CompressionType.Gzip, [1, 2, 3]);
        Assert.Equal([1, 2, 3, 1, 2, 3], Decompress(CompressionType.Gzip, [.. member, .. member], 6));
        Assert.Throws<InvalidRecordException>(() => Decompress(CompressionType.Gzip, [.. member, .. member], 5));
    }

    [Fact]
    public void Several_zstd_frames_are_one_content()
    {
        var frame = Compress(CompressionType.Zstd, [1, 2, 3]);
        Assert.Equal([1, 2, 3, 1, 2, 3], Decompress(CompressionType.Zstd, [.. frame, .. frame], 6));
        Assert.Throws<InvalidRecordException>(() => Decompress(CompressionType.Zstd, [.. frame, .. frame], 5));
    }

    [Fact]
    public void Lz4_is_written_as_independent_blocks_of_64_KiB_with_a_header_checksum_only()
    {
        var compressed = Compress(CompressionType.Lz4, new byte[200_000]);
        Assert.Equal("04224d18", Convert.ToHexStringLower(compressed.AsSpan(0, 4)));
        Assert.Equal(0x60, compressed[4]);
        Assert.Equal(0x40, compressed[5]);
        Assert.Equal(0x82, compressed[6]);
    }

    [Fact]
    public void Lz4_with_the_header_checksum_of_the_old_formats_or_bytes_behind_the_frame_is_refused()
    {
        var compressed = Compress(CompressionType.Lz4, new byte[1000]);
        Assert.Throws<InvalidRecordException>(() => Decompress(CompressionType.Lz4, [.. compressed, 0], 1000));
        compressed[6] ^= 0x55;
        Assert.Throws<InvalidRecordException>(() => Decompress(CompressionType.Lz4, compressed, 1000));
    }

    private static IEnumerable<byte[]> Contents()
    {
        yield return [];
        yield return [42];
        yield return [.. Enumerable.Repeat((byte)7, 100)];
        var random = new Random(3);
        var noise = new byte[70_000];
        random.NextBytes(noise);
        yield return noise;
        var text = string.Join(' ', Enumerable.Range(0, 20_000).Select(i => $"word{random.Next(500)}"));
        yield return System.Text.Encoding.ASCII.GetBytes(text);
        yield return [.. noise.AsSpan(0, 300), .. noise.AsSpan(0, 300), .. new byte[66_000],
            .. noise.AsSpan(0, 40_000)];
    }

    private byte[] Compress(CompressionType type, byte[] content)
    {
        var output = new ArrayBufferWriter<byte>();
        _codecs.Get(type).Compress(content, output);
        return output.WrittenSpan.ToArray();
    }

    private byte[] Decompress(CompressionType type, byte[] compressed, int maxBytes)
    {
        var output = new ArrayBufferWriter<byte>();
        _codecs.Get(type).Decompress(compressed, output, maxBytes);
        Assert.InRange(output.WrittenCount, 0, maxBytes);
        return output.WrittenSpan.ToArray();
    }

    private void Drain(CompressionType type, byte[] bomb, int bound)
    {
        using var output = new PooledBuffer();
        Assert.Throws<InvalidRecordException>(() => _codecs.Get(type).Decompress(bomb, output, bound));
        Assert.InRange(output.Length, 0, bound);
    }

    private void DecompressHostile(CompressionType type, byte[] bytes, int maxBytes, bool mustFail)
    {
        try
        {
            Decompress(type, bytes, maxBytes);
            Assert.False(mustFail, $"{type} took {Convert.ToHexString(bytes.AsSpan(0, Math.Min(20, bytes.Length)))}");
        }
        catch (InvalidRecordException)
        {
            // What is expected of most of them.
        }
    }
}
