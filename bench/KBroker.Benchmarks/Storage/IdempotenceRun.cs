using System.Buffers;
using System.Buffers.Binary;
using System.Globalization;
using KBroker.Protocol.Records;
using KBroker.Storage;

namespace KBroker.Benchmarks.Storage;

/// <summary>
/// What sequences cost an append: short turns with and without a producer, on two logs, one after the other, each by
/// the processor time of the process. So other load on the machine concerns both the same. Both are stamped, and get
/// a checksum, each time.
/// </summary>
internal static class IdempotenceRun
{
    /// <summary>The first argument.</summary>
    public const string Mode = "idempotence";

    private const int Turns = 400;
    private const int AppendsOfTurn = 100;

    /// <summary>Measures batches of one record and of 16 KB.</summary>
    public static void Run()
    {
        Console.WriteLine("| batch | plain us | idempotent us | ratio of sums | median of the turns' ratios |");
        Console.WriteLine("|---|--:|--:|--:|--:|");
        foreach (var bytes in new[] { 1100, 16 * 1024 })
            Measure(bytes);
    }

    private static void Measure(int bytes)
    {
        using var plain = new StorageSample();
        using var idempotent = new StorageSample();
        var batch = StorageSample.Batch(bytes);
        var sequence = 0;
        var ratios = new List<double>();
        double plainMs = 0, idempotentMs = 0;
        for (var turn = -20; turn < Turns; turn++)
        {
            double one, other;
            if (turn % 2 == 0)
            {
                one = Time(plain.Log, batch, -1, ref sequence);
                other = Time(idempotent.Log, batch, 7, ref sequence);
            }
            else
            {
                other = Time(idempotent.Log, batch, 7, ref sequence);
                one = Time(plain.Log, batch, -1, ref sequence);
            }

            if (turn < 0)
                continue;
            plainMs += one;
            idempotentMs += other;
            ratios.Add(other / one);
        }

        ratios.Sort();
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"| {batch.Length} B | {plainMs * 1000 / Turns / AppendsOfTurn:F2} ")
            + string.Create(
                CultureInfo.InvariantCulture,
                $"| {idempotentMs * 1000 / Turns / AppendsOfTurn:F2} | {idempotentMs / plainMs:F3} ")
            + string.Create(CultureInfo.InvariantCulture, $"| {ratios[ratios.Count / 2]:F3} |"));
    }

    private static double Time(PartitionLog log, byte[] batch, long producerId, ref int sequence)
    {
        RecordBatchHeader.TryParse(batch, out var header);
        var records = new ReadOnlySequence<byte>(batch);
        var began = Environment.CpuUsage.TotalTime;
        for (var i = 0; i < AppendsOfTurn; i++)
        {
            RecordBatchEditor.AssignOffsets(records, 0, -1);
            BinaryPrimitives.WriteInt64BigEndian(batch.AsSpan(RecordBatchLayout.ProducerId), producerId);
            BinaryPrimitives.WriteInt16BigEndian(
                batch.AsSpan(RecordBatchLayout.ProducerEpoch), producerId < 0 ? (short)-1 : (short)0);
            BinaryPrimitives.WriteInt32BigEndian(
                batch.AsSpan(RecordBatchLayout.BaseSequence), producerId < 0 ? -1 : sequence);
            RecordBatchEditor.WriteCrc(batch);
            var result = log.AppendAsLeader(records, 0, AppendOptions.Client);
            if (!result.IsSuccess)
                throw new InvalidOperationException(result.ErrorMessage);
            if (producerId >= 0)
                sequence += header.RecordsCount;
        }

        return (Environment.CpuUsage.TotalTime - began).TotalMilliseconds;
    }
}
