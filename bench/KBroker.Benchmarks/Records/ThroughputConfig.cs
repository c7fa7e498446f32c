using BenchmarkDotNet.Columns;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Diagnosers;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;

namespace KBroker.Benchmarks.Records;

/// <summary>
/// Adds GB/s (10^9 bytes) from the parameter <c>Bytes</c> and the fastest iteration, and the allocations.
/// </summary>
internal sealed class ThroughputConfig : ManualConfig
{
    public ThroughputConfig()
    {
        AddDiagnoser(MemoryDiagnoser.Default);
        AddColumn(StatisticColumn.Min, new ThroughputColumn());
    }

    private sealed class ThroughputColumn : IColumn
    {
        public string Id => "Throughput";

        public string ColumnName => "GB/s";

        public bool AlwaysShow => true;

        public ColumnCategory Category => ColumnCategory.Custom;

        public int PriorityInCategory => 0;

        public bool IsNumeric => true;

        public UnitType UnitType => UnitType.Dimensionless;

        public string Legend => "Uncompressed bytes of the batch / time of the fastest iteration, 10^9 bytes a second";

        public string GetValue(Summary summary, BenchmarkCase benchmarkCase)
        {
            var bytes = Convert.ToDouble(benchmarkCase.Parameters["Bytes"]);
            var fastest = summary[benchmarkCase]?.ResultStatistics?.Min;
            return fastest is { } nanoseconds ? (bytes / nanoseconds).ToString("0.00") : "?";
        }

        public string GetValue(Summary summary, BenchmarkCase benchmarkCase, SummaryStyle style) =>
            GetValue(summary, benchmarkCase);

        public bool IsAvailable(Summary summary) => true;

        public bool IsDefault(Summary summary, BenchmarkCase benchmarkCase) => false;
    }
}
