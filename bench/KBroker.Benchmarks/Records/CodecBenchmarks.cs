using System.Buffers;
using BenchmarkDotNet.Attributes;
using KBroker.Protocol.Records;

namespace KBroker.Benchmarks.Records;

/// <summary>Compressed batches of 1 KB records: validation (decompress and walk), and compression.</summary>
[Config(typeof(ThroughputConfig))]
public class CodecBenchmarks
{
    private readonly CompressionCodecs _codecs = new();
    private readonly ArrayBufferWriter<byte> _output = new(2 * 1024 * 1024);
    private byte[] _plain = [];
    private ReadOnlySequence<byte> _batch;

    [Params(CompressionType.Gzip, CompressionType.Snappy, CompressionType.Lz4, CompressionType.Zstd)]
    public CompressionType Type { get; set; }

    [Params(256 * 1024)]
    public int Bytes { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _plain = SampleBatch.Build(Bytes, 1024, CompressionType.None, _codecs);
        _batch = new ReadOnlySequence<byte>(SampleBatch.Build(Bytes, 1024, Type, _codecs));
        Console.WriteLine($"// {Type}: {_plain.Length} -> {_batch.Length} bytes");
    }

    [Benchmark]
    public int Validate() => RecordBatchValidator.Validate(_batch, _codecs, Bytes).RecordsCount;

    [Benchmark]
    public int Compress()
    {
        _output.ResetWrittenCount();
        _codecs.Get(Type).Compress(_plain.AsSpan(RecordBatchLayout.HeaderSize), _output);
        return _output.WrittenCount;
    }
}
