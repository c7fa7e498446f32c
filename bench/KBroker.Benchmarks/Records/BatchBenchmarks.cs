using System.Buffers;
using BenchmarkDotNet.Attributes;
using KBroker.Protocol.Records;

namespace KBroker.Benchmarks.Records;

/// <summary>What Produce does to one uncompressed batch, beside a plain copy of the same bytes.</summary>
[Config(typeof(ThroughputConfig))]
public class BatchBenchmarks
{
    private readonly CompressionCodecs _codecs = new();
    private byte[] _batch = [];
    private byte[] _target = [];
    private ReadOnlyMemory<byte>[] _values = [];
    private ReadOnlySequence<byte> _sequence;
    private RecordBatchBuilder _builder = null!;

    [Params(16 * 1024, 1024 * 1024)]
    public int Bytes { get; set; }

    [Params(100, 1024)]
    public int RecordBytes { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _batch = SampleBatch.Build(Bytes, RecordBytes, CompressionType.None, _codecs);
        _target = new byte[_batch.Length];
        _values = SampleBatch.Values(RecordBytes);
        _sequence = new ReadOnlySequence<byte>(_batch);
        _builder = new RecordBatchBuilder(RecordBatchOptions.Default);
    }

    [Benchmark(Baseline = true)]
    public void Copy() => _batch.AsSpan().CopyTo(_target);

    [Benchmark]
    public bool Crc() => RecordBatches.HasValidCrc(_sequence);

    [Benchmark]
    public bool Walk() => RecordBatchValidator.Validate(_sequence, _codecs, Bytes).OffsetsConsecutive;

    [Benchmark]
    public bool Produce()
    {
        var valid = true;
        foreach (var batch in RecordBatches.Enumerate(_sequence))
        {
            valid &= batch.HasValidCrc();
            RecordBatchValidator.CheckProduced(batch.Header);
            valid &= RecordBatchValidator.Validate(batch.Bytes, _codecs, Bytes).OffsetsConsecutive;
            RecordBatchEditor.AssignOffsets(batch.Bytes, 4711, 3);
        }

        return valid;
    }

    [Benchmark]
    public long Read()
    {
        using var reader = new RecordBatchReader(_sequence, _codecs, Bytes);
        var sum = 0L;
        while (reader.TryRead(out var record))
            sum += record.Offset;
        return sum;
    }

    [Benchmark]
    public int Build()
    {
        _builder.Reset(RecordBatchOptions.Default);
        SampleBatch.Fill(_builder, Bytes, _values);
        return _builder.Build().Length;
    }
}
