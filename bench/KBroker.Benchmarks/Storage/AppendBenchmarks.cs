using System.Buffers;
using BenchmarkDotNet.Attributes;
using BenchmarkDotNet.Engines;
using KBroker.Protocol.Records;
using KBroker.Storage;
using Microsoft.Win32.SafeHandles;

namespace KBroker.Benchmarks.Storage;

/// <summary>
/// Appends of one prebuilt batch beside a plain write of the same bytes to a file: 64 MB an iteration,
/// into a fresh log, into the page cache. The budget is near zero bytes allocated an append.
/// </summary>
[MemoryDiagnoser]
[SimpleJob(RunStrategy.Monitoring, launchCount: 1, warmupCount: 3, iterationCount: 10, invocationCount: 1)]
public class AppendBenchmarks
{
    private const int TotalBytes = 64 * 1024 * 1024;
    private const int SmallBytes = 16 * 1024;
    private const int LargeBytes = 1024 * 1024;

    private readonly byte[] _small = StorageSample.Batch(SmallBytes);
    private readonly byte[] _large = StorageSample.Batch(LargeBytes);
    private StorageSample _storage = null!;
    private SafeFileHandle _raw = null!;

    [IterationSetup]
    public void Setup()
    {
        _storage = new StorageSample();
        _raw = File.OpenHandle(
            Path.Combine(_storage.Root, "raw"), FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None);
    }

    [IterationCleanup]
    public void Cleanup()
    {
        _raw.Dispose();
        _storage.Dispose();
    }

    [Benchmark(OperationsPerInvoke = TotalBytes / SmallBytes)]
    public void Append_16_KB() => Append(_small, TotalBytes / SmallBytes);

    [Benchmark(OperationsPerInvoke = TotalBytes / SmallBytes)]
    public void Plain_write_16_KB() => Write(_small, TotalBytes / SmallBytes);

    [Benchmark(OperationsPerInvoke = TotalBytes / LargeBytes)]
    public void Append_1_MB() => Append(_large, TotalBytes / LargeBytes);

    [Benchmark(OperationsPerInvoke = TotalBytes / LargeBytes)]
    public void Plain_write_1_MB() => Write(_large, TotalBytes / LargeBytes);

    private void Append(byte[] batch, int count)
    {
        var records = new ReadOnlySequence<byte>(batch);
        for (var i = 0; i < count; i++)
        {
            // A fresh request has offset 0; the append before wrote its own.
            RecordBatchEditor.AssignOffsets(records, 0, -1);
            var result = _storage.Log.AppendAsLeader(records, 0, AppendOptions.Client);
            if (!result.IsSuccess)
                throw new InvalidOperationException(result.ErrorMessage);
        }
    }

    private void Write(byte[] batch, int count)
    {
        for (var i = 0; i < count; i++)
            RandomAccess.Write(_raw, batch, (long)i * batch.Length);
    }
}
