using System.Buffers;
using System.Text;
using BenchmarkDotNet.Attributes;
using KBroker.Protocol;
using KBroker.Protocol.Records;
using KBroker.Storage;
using KBroker.Storage.Log;

namespace KBroker.Benchmarks.Delivery;

/// <summary>
/// What a topic that opted in to delays does with a batch of 100 records: the walk that every batch gets, which counts
/// the headers that begin as requests do; and the screening of a batch in which there are some. The budget: the walk
/// allocates nothing, the screening its reader only.
/// </summary>
[MemoryDiagnoser]
public class ScreenBenchmarks
{
    private const int RecordsCount = 100;
    private const long NowMs = 1_700_000_000_000;
    private const int BytesMax = 1 << 20;
    private readonly CompressionCodecs _codecs = new();
    private readonly LogConfig _config = new() { DelayEnable = true };
    private readonly AppendWork _work = new();
    private ReadOnlySequence<byte> _batch;
    private RequestScreen _screen = null!;

    /// <summary>The header that each record has.</summary>
    [Params("none", "other", "delay-ms", "deliver-at")]
    public string Header { get; set; } = "none";

    [GlobalSetup]
    public void Setup()
    {
        using var builder = new RecordBatchBuilder(RecordBatchOptions.Default);
        var headers = Header switch
        {
            "other" => RecordHeaders.Create(new RecordHeader("traceparent", new byte[55])),
            "delay-ms" => RecordHeaders.Create(new RecordHeader("kbroker-delay-ms", "60000"u8.ToArray())),
            "deliver-at" => RecordHeaders.Create(
                new RecordHeader("kbroker-deliver-at", Encoding.ASCII.GetBytes($"{NowMs + 60_000}"))),
            _ => RecordHeaders.Empty,
        };
        for (var i = 0; i < RecordsCount; i++)
            builder.Append(NowMs, null, (ReadOnlyMemory<byte>?)new byte[100], headers);
        _batch = new ReadOnlySequence<byte>(builder.Build().ToArray());
        // No record is a decision, which alone looks for a half message.
        _screen = new RequestScreen(new TopicPartition("bench", 0), _codecs, halves: null!);
    }

    [Benchmark(Baseline = true)]
    public long Walk() => RecordBatchValidator.Validate(_batch, _codecs, BytesMax).RequestHeadersCount;

    [Benchmark]
    public long Walk_and_screen()
    {
        var summary = RecordBatchValidator.Validate(_batch, _codecs, BytesMax);
        return summary.RequestHeadersCount == 0
            ? 0
            : (long)_screen.Run(_work, _batch, _config, BytesMax, NowMs).Flags;
    }
}
