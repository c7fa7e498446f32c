using System.Buffers;
using BenchmarkDotNet.Attributes;
using KBroker.Protocol.Records;
using KBroker.Storage;

namespace KBroker.Benchmarks.Storage;

/// <summary>
/// Plans of reads: from an offset to a region of a file. No record is read; a plan is one slice object.
/// </summary>
[MemoryDiagnoser]
public class ReadBenchmarks
{
    private const int Batches = 20_000;
    private readonly Random _random = new(1);
    private StorageSample _storage = null!;
    private int _perBatch;

    [GlobalSetup]
    public void Setup()
    {
        _storage = new StorageSample();
        var batch = StorageSample.Batch(4 * 1024);
        var records = new ReadOnlySequence<byte>(batch);
        for (var i = 0; i < Batches; i++)
        {
            RecordBatchEditor.AssignOffsets(records, 0, -1);
            _perBatch = _storage.Log.AppendAsLeader(records, 0, AppendOptions.Client).RecordsCount;
        }
    }

    [GlobalCleanup]
    public void Cleanup() => _storage.Dispose();

    [Benchmark]
    public int At_the_end() => Plan(_storage.Log.LogEndOffset - 1);

    [Benchmark]
    public int Anywhere() => Plan(_random.NextInt64((long)Batches * _perBatch));

    private int Plan(long offset)
    {
        using var records = _storage.Log.Read(offset, 1024 * 1024, long.MaxValue, minOneMessage: true).Records;
        return records.SizeInBytes;
    }
}
