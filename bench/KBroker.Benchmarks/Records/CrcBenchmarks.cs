using BenchmarkDotNet.Attributes;
using KBroker.Protocol.Records;

namespace KBroker.Benchmarks.Records;

/// <summary>CRC-32C by the processor's instruction and by tables, beside a plain copy of the same bytes.</summary>
[Config(typeof(ThroughputConfig))]
public class CrcBenchmarks
{
    private byte[] _source = [];
    private byte[] _target = [];

    /// <summary>The last size does not fit the caches.</summary>
    [Params(200, 16 * 1024, 1024 * 1024, 128 * 1024 * 1024)]
    public int Bytes { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _source = new byte[Bytes];
        new Random(1).NextBytes(_source);
        _target = new byte[Bytes];
    }

    [Benchmark(Baseline = true)]
    public void Copy() => _source.AsSpan().CopyTo(_target);

    [Benchmark]
    public uint Crc() => Crc32C.Compute(_source);

    [Benchmark]
    public uint CrcByTables() => Crc32C.AppendSoftware(0, _source);
}
