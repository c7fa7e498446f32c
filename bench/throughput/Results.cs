using System.Globalization;

namespace KBroker.Throughput;

/// <summary>
/// All measurements of a run, and their tables. A ratio is the median of the ratios of single rounds.
/// </summary>
internal sealed class Results
{
    private readonly Dictionary<(string Scenario, string Target), List<Measurement>> _all = [];
    private readonly List<string> _scenarios = [];

    internal void Add(string scenario, string target, Measurement measurement)
    {
        if (!_scenarios.Contains(scenario)) _scenarios.Add(scenario);
        if (!_all.TryGetValue((scenario, target), out var list)) _all[(scenario, target)] = list = [];
        list.Add(measurement);
        Console.Error.WriteLine(
            $"  {scenario,-32} {target,-16} {measurement.MegabytesPerSecond,8:F0} MB/s  "
            + $"{measurement.ServerCpuPerGigabyte,6:F2} s/GB  client {measurement.ClientCpuPerGigabyte:F2} s/GB");
    }

    internal void Print()
    {
        Line("| scenario | target | MB/s | (least, most) | server CPU s/GB | client CPU s/GB | RSS MB |");
        Line("|---|---|--:|--:|--:|--:|--:|");
        foreach (var ((scenario, target), list) in _all.OrderBy(e => _scenarios.IndexOf(e.Key.Scenario)))
        {
            Line($"| {scenario} | {target} | {Median(list, m => m.MegabytesPerSecond):F0} "
                + $"| {list.Min(m => m.MegabytesPerSecond):F0}, {list.Max(m => m.MegabytesPerSecond):F0} "
                + $"| {Median(list, m => m.ServerCpuPerGigabyte):F2} | {Median(list, m => m.ClientCpuPerGigabyte):F2} "
                + $"| {Median(list, m => m.ResidentMegabytes):F0} |");
        }

        Line("");
        Line("| scenario | ratio | rate | server CPU per GB |");
        Line("|---|---|--:|--:|");
        foreach (string scenario in _scenarios)
        {
            foreach (var (key, others) in _all.Where(e => e.Key.Scenario == scenario && e.Key.Target != "kbroker"))
            {
                if (!_all.TryGetValue((scenario, "kbroker"), out var ours)) continue;
                Line($"| {scenario} | kbroker : {key.Target} | {Ratio(ours, others, m => m.MegabytesPerSecond):F2} "
                    + $"| {Ratio(ours, others, m => m.ServerCpuPerGigabyte):F2} |");
            }
        }
    }

    internal static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }

    private static double Median(List<Measurement> list, Func<Measurement, double> figure) =>
        Median(list.Select(figure));

    private static double Ratio(List<Measurement> ours, List<Measurement> others, Func<Measurement, double> figure) =>
        Median(ours.Zip(others, (one, other) => figure(one) / figure(other)));

    private static void Line(FormattableString line) => Console.WriteLine(line.ToString(CultureInfo.InvariantCulture));

    private static void Line(string line) => Console.WriteLine(line);
}
