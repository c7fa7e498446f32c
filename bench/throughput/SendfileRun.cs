using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;

namespace KBroker.Throughput;

/// <summary>
/// Counts, with strace, by which system calls a broker's bytes leave during a fetch, and which read file bytes into its
/// memory. A sum over calls that return a count of bytes.
/// </summary>
internal sealed class SendfileRun(Settings settings)
{
    private const string Calls =
        "sendfile,splice,sendmsg,sendto,write,writev,read,readv,pread64,preadv,recvfrom,recvmsg";
    private const long Volume = 200_000_000;

    internal void Run()
    {
        foreach (string target in settings.Brokers())
        {
            using var broker = new BrokerProcess(settings, target);
            broker.Format();
            broker.Start();
            Measure(broker);
        }
    }

    private static readonly Regex Line = new(
        @"^(\d+) +(?:(\w+)\((\d+)<([^>]*)>?|<\.\.\. (\w+) resumed>).*?(?:= (-?\d+)|<unfinished \.\.\.>)");

    private void Measure(BrokerProcess broker)
    {
        var driver = new DirectDriver(settings);
        using var topic = new Topic(broker, "sendfile", settings.Connections);
        long bytes = driver.Produce(broker.Port, driver.Prepare(topic.Id, settings.RecordBytes[^1]), Volume);
        string trace = Path.Combine(broker.Folder, "strace");
        string[] what = ["-f", "-qq", "-yy", "-s", "0", "-e", "trace=" + Calls, "-e", "signal=none"];
        using (var strace = Process.Start("strace", [.. what, "-o", trace, "-p", $"{broker.Id}"]))
        {
            while (!Traced(broker.Id))
            {
                if (strace.HasExited) throw new InvalidOperationException("strace cannot attach");
                Thread.Sleep(20);
            }

            driver.Fetch(broker.Port, topic, bytes);
            using var kill = Process.Start("kill", ["-INT", $"{strace.Id}"]);
            strace.WaitForExit();
        }

        Print(broker.Target, bytes, Sum(trace));
    }

    private static bool Traced(int processId) =>
        Directory.GetDirectories($"/proc/{processId}/task").All(task =>
            File.ReadLines(task + "/status").Any(
                line => line.StartsWith("TracerPid:", StringComparison.Ordinal) && line[10..].Trim() != "0"));

    private static Dictionary<(string Call, string On), (long Count, long Bytes)> Sum(string trace)
    {
        var sums = new Dictionary<(string Call, string On), (long Count, long Bytes)>();
        var pending = new Dictionary<string, (string Call, string On)>();
        foreach (string line in File.ReadLines(trace))
        {
            var match = Line.Match(line);
            if (!match.Success) continue;
            string thread = match.Groups[1].Value;
            var key = match.Groups[2].Success
                ? (match.Groups[2].Value, Kind(match.Groups[4].Value))
                : pending.GetValueOrDefault(thread, (match.Groups[5].Value, "?"));
            if (!match.Groups[6].Success)
            {
                pending[thread] = key;
                continue;
            }

            long result = long.Parse(match.Groups[6].Value, CultureInfo.InvariantCulture);
            if (result <= 0) continue;
            var (count, bytes) = sums.GetValueOrDefault(key);
            sums[key] = (count + 1, bytes + result);
        }

        return sums;
    }

    private static string Kind(string descriptor) =>
        descriptor.StartsWith("TCP", StringComparison.Ordinal) ? "socket"
        : descriptor.EndsWith(".log", StringComparison.Ordinal) ? "log"
        : descriptor.StartsWith('/') ? "file" : "other";

    private static void Print(
        string target, long fetched, Dictionary<(string Call, string On), (long Count, long Bytes)> sums)
    {
        Console.WriteLine($"{target}: fetch of {fetched} bytes of batches");
        foreach (var ((call, on), (count, bytes)) in sums.OrderByDescending(s => s.Value.Bytes))
            Console.WriteLine($"  {call + " " + on,-20} {count,8} calls {bytes,13} bytes");
        double sent = sums.Where(s => s.Key.On == "socket" && !IsInput(s.Key.Call)).Sum(s => (double)s.Value.Bytes);
        double byFile = sums
            .Where(s => s.Key is { Call: "sendfile" or "splice", On: "socket" })
            .Sum(s => (double)s.Value.Bytes);
        long read = sums.Where(s => s.Key.On == "log" && IsInput(s.Key.Call)).Sum(s => s.Value.Bytes);
        Console.WriteLine(FormattableString.Invariant(
            $"  by sendfile: {100 * byFile / sent:F2} % of the bytes sent; log bytes read into the process: {read}"));
    }

    private static bool IsInput(string call) =>
        call is "read" or "readv" or "pread64" or "preadv" or "recvfrom" or "recvmsg";
}
