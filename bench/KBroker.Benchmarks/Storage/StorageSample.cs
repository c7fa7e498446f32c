using KBroker.Protocol;
using KBroker.Protocol.Records;
using KBroker.Storage;

namespace KBroker.Benchmarks.Storage;

/// <summary>One log in a temporary directory.</summary>
internal sealed class StorageSample : IDisposable
{
    private readonly LogManager _manager;

    public StorageSample()
    {
        Root = Directory.CreateTempSubdirectory("kbroker-bench-").FullName;
        _manager = LogManager.Open(new LogManagerOptions
        {
            LogDirectories = [System.IO.Path.Combine(Root, "data")],
            NodeId = 1,
            RunInline = true,
        });
        var config = new LogConfig { MaxMessageBytes = 4 * 1024 * 1024 };
        _manager.LoadLogs((_, _) => config);
        Log = _manager.GetOrCreate(new TopicPartition("bench", 0), Uuid.Random(), config);
    }

    public string Root { get; }

    public PartitionLog Log { get; }

    /// <summary>A batch of records of 1 KB, just below a size.</summary>
    public static byte[] Batch(int bytes)
    {
        using var builder = new RecordBatchBuilder(RecordBatchOptions.Default);
        var value = new byte[1000];
        new Random(1).NextBytes(value);
        var record = RecordBatchBuilder.MaxRecordBytes(0, value.Length);
        var now = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
        for (var i = 0; i < Math.Max(1, (bytes - RecordBatchLayout.HeaderSize) / record); i++)
            builder.Append(now, null, (ReadOnlyMemory<byte>?)value);
        return builder.Build().ToArray();
    }

    public void Dispose()
    {
        _manager.Dispose();
        Directory.Delete(Root, recursive: true);
    }
}
