using System.Globalization;
using KBroker.Delivery.Delay;
using KBroker.Storage.Files;

namespace KBroker.Benchmarks.Delivery;

/// <summary>What pending records take of the managed heap, and on disk, in one process without a broker.</summary>
internal static class PendingMemoryRun
{
    /// <summary>The first argument.</summary>
    public const string Mode = "pending";

    /// <summary>Measures a million records and more over some partitions.</summary>
    public static void Run()
    {
        Console.WriteLine("| partitions | pending | heap bytes each | file bytes each | heap MB |");
        Console.WriteLine("|--:|--:|--:|--:|--:|");
        Measure(100, 1_000_000);
        Measure(4, 1_000_000);
        Measure(1, 1_000_000);
        Measure(1, 4_000_000);
    }

    private static void Measure(int partitions, int records)
    {
        var folder = Directory.CreateTempSubdirectory("kbroker-bench-").FullName;
        var random = new Random(1);
        var before = GC.GetTotalMemory(forceFullCollection: true);
        var schedules = new List<PendingSchedule>();
        for (var i = 0; i < partitions; i++)
        {
            var own = Directory.CreateDirectory(Path.Combine(folder, $"{i}")).FullName;
            var schedule = new PendingSchedule(new PhysicalFileSystem(), () => own, 16_384, 8_192);
            schedule.BeginLoading([]);
            schedule.FinishLoading();
            for (var offset = 0; offset < records / partitions; offset++)
                schedule.Add(new PendingRecord(random.NextInt64(3_600_000), offset, offset), isNew: true);
            schedules.Add(schedule);
        }

        var heap = GC.GetTotalMemory(forceFullCollection: true) - before;
        foreach (var schedule in schedules)
            schedule.DeleteObsolete(schedule.Save(out var nearNumber), nearNumber);
        var files = new DirectoryInfo(folder).EnumerateFiles("*", SearchOption.AllDirectories).Sum(f => f.Length);
        GC.KeepAlive(schedules);
        Directory.Delete(folder, recursive: true);
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"| {partitions} | {records} | {(double)heap / records:F1} | {(double)files / records:F1} ")
            + string.Create(CultureInfo.InvariantCulture, $"| {heap / 1e6:F1} |"));
    }
}
