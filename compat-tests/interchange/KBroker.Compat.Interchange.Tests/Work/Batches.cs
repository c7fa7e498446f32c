using System.Text;
using KBroker.Protocol.Records;

namespace KBroker.Compat.Interchange.Tests.Work;

/// <summary>Makes batches as clients send them, from a seed: the same test writes the same records each time.</summary>
internal sealed class Batches(int seed) : IDisposable
{
    /// <summary>Long ago, so that nothing depends on the clock: 2023-11-14.</summary>
    public const long Epoch = 1_700_000_000_000;

    private readonly Random _random = new(seed);
    private readonly CompressionCodecs _codecs = new();

    public static IReadOnlyList<CompressionType> Codecs { get; } = Enum.GetValues<CompressionType>();

    public void Dispose() => _codecs.Dispose();

    /// <summary>Records of every shape: null, empty, short and long keys and values, headers, odd timestamps.</summary>
    public byte[] Mixed(CompressionType codec, int count, long timestamp)
    {
        using var builder = Builder(new RecordBatchOptions { Compression = codec });
        for (var i = 0; i < count; i++)
        {
            ReadOnlyMemory<byte>? key = i % 4 == 0 ? null : i % 9 == 1 ? Array.Empty<byte>() : Utf8($"key-{i % 7}");
            ReadOnlyMemory<byte>? value = i % 5 == 3 ? null : i % 8 == 2 ? Array.Empty<byte>() : Value(i);
            builder.Append(timestamp + _random.Next(-5000, 5000), key, value, Headers(i));
        }

        return builder.Build().ToArray();
    }

    /// <summary>Records with keys and values.</summary>
    public byte[] Of(RecordBatchOptions options, long timestamp, params (string? Key, string? Value)[] records)
    {
        using var builder = Builder(options);
        foreach (var (key, value) in records)
            builder.Append(timestamp, key is null ? null : Utf8(key), value is null ? null : Utf8(value));
        return builder.Build().ToArray();
    }

    public byte[] Of(long timestamp, params (string? Key, string? Value)[] records) =>
        Of(RecordBatchOptions.Default, timestamp, records);

    /// <summary>Records with values, some of which have a header.</summary>
    public byte[] WithHeaders(
        RecordBatchOptions options,
        long timestamp,
        params (string Value, (string Name, string Value)? Header)[] records)
    {
        using var builder = Builder(options);
        foreach (var (value, header) in records)
        {
            var headers = header is { } h
                ? RecordHeaders.Create(new RecordHeader(h.Name, Utf8(h.Value)))
                : RecordHeaders.Empty;
            builder.Append(timestamp, null, Utf8(value), headers);
        }

        return builder.Build().ToArray();
    }

    private static ReadOnlyMemory<byte> Utf8(string text) => Encoding.UTF8.GetBytes(text);

    private static RecordHeaders Headers(int i) => (i % 6) switch
    {
        0 => RecordHeaders.Empty,
        1 => RecordHeaders.Create(new RecordHeader("trace", Utf8($"id-{i}")), new("trace", Utf8("twice"))),
        2 => RecordHeaders.Create(new RecordHeader("nothing", null), new("empty", Array.Empty<byte>())),
        3 => RecordHeaders.Create(new RecordHeader("", Utf8("no name")), new("naïve-ключ-鍵", Utf8("çà"))),
        _ => RecordHeaders.Create(new RecordHeader("type", Utf8("order"))),
    };

    // Text that compresses, and noise that does not.
    private ReadOnlyMemory<byte> Value(int i)
    {
        if (i % 3 == 0)
            return Utf8(string.Concat(Enumerable.Repeat($"value {i} ", _random.Next(1, 400))));
        var noise = new byte[_random.Next(1, 3000)];
        _random.NextBytes(noise);
        return noise;
    }

    private RecordBatchBuilder Builder(RecordBatchOptions options) => new(options, _codecs);
}
