using System.Buffers;
using System.Buffers.Text;
using System.Globalization;
using System.Text;
using KBroker.Admin;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;
using KBroker.Protocol.Records.Delivery;

namespace KBroker.Delayed;

/// <summary>
/// <c>kbroker delayed cancel</c>: writes cancels as any client would, and reads from the log what became of them.
/// </summary>
/// <param name="cluster">The brokers.</param>
/// <param name="output">Where the outcome is told.</param>
/// <param name="time">The clock.</param>
internal sealed class DelayedCancel(AdminCluster cluster, TextWriter output, TimeProvider time)
{
    private const int AnswerMs = 30_000;
    private const int PollMs = 500;
    private const int FetchBytes = 1 << 20;
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    /// <summary>Cancels records.</summary>
    /// <param name="topic">The topic.</param>
    /// <param name="index">The partition.</param>
    /// <param name="offsets">The offsets that producers were told.</param>
    /// <param name="cancellation">Ends the waiting.</param>
    /// <returns>The exit code.</returns>
    /// <exception cref="AdminException">A broker cannot be reached, or refuses.</exception>
    public async Task<int> RunAsync(string topic, int index, List<long> offsets, CancellationToken cancellation)
    {
        var partition = await cluster.FindAsync(topic, index, cancellation).ConfigureAwait(false);
        var leader = await cluster.ConnectAsync(partition, cancellation).ConfigureAwait(false);
        var before = await PendingPartition.FindAsync(leader, partition, offsets, cancellation).ConfigureAwait(false);
        var pending = before.Entries.ToDictionary(static e => e.Offset, static e => e.DueMs);
        foreach (var offset in offsets.Where(o => !pending.ContainsKey(o)))
        {
            await output.WriteLineAsync($"{topic}-{index} offset {Number(offset)}: not pending. It was delivered or "
                + "cancelled before, or never delayed, or its transaction is open.").ConfigureAwait(false);
        }

        if (pending.Count == 0)
            return ExitCode.Failed;
        if (!before.IsEnabled)
        {
            throw new AdminException($"Topic {topic} allows no delays at present (kbroker.delay.enable is false), so a "
                + "cancel would be an ordinary record. Set it to true, cancel, and set it back.");
        }

        List<long> targets = [.. pending.Keys.Order()];
        var first = await ProduceAsync(leader, partition, targets, cancellation).ConfigureAwait(false);
        await SettleAsync(leader, partition, targets, cancellation).ConfigureAwait(false);
        var deliveries = await FindDeliveriesAsync(
            leader, partition, before.UpToOffset, first, cancellation).ConfigureAwait(false);
        var nowMs = time.GetUtcNow().ToUnixTimeMilliseconds();
        for (var i = 0; i < targets.Count; i++)
        {
            var (target, by) = (targets[i], first + i);
            var fate = deliveries.TryGetValue(target, out var delivered)
                ? $"delivered, at offset {Number(delivered)}, before the cancel at {Number(by)}"
                : $"cancelled, by the record at offset {Number(by)}; it would be due {Instants.Local(pending[target])} "
                    + $"({Instants.Away(pending[target], nowMs)})";
            await output.WriteLineAsync($"{topic}-{index} offset {Number(target)}: {fate}.").ConfigureAwait(false);
        }

        return deliveries.Keys.Any(pending.ContainsKey) || pending.Count < offsets.Count
            ? ExitCode.Failed
            : ExitCode.Done;
    }

    private static string Number(long number) => number.ToString(CultureInfo.InvariantCulture);

    /// <summary>Writes one cancel for each target, in one batch.</summary>
    /// <returns>The offset of the first.</returns>
    private async Task<long> ProduceAsync(
        AdminConnection leader, AdminPartition partition, List<long> targets, CancellationToken cancellation)
    {
        using var builder = new RecordBatchBuilder(RecordBatchOptions.Default);
        foreach (var target in targets)
        {
            builder.Append(
                time.GetUtcNow().ToUnixTimeMilliseconds(),
                default(ReadOnlyMemory<byte>?),
                default(ReadOnlyMemory<byte>?),
                RecordHeaders.Create(new RecordHeader(
                    DeliveryHeaders.Cancel, Encoding.ASCII.GetBytes(Number(target)))));
        }

        var response = await leader.CallAsync<ProduceResponse>(
            new ProduceRequest
            {
                Acks = -1,
                TimeoutMs = AnswerMs,
                TopicData =
                [
                    new()
                    {
                        Name = partition.Topic,
                        TopicId = partition.TopicId,
                        PartitionData =
                        [
                            new() { Index = partition.Index, Records = new Records(builder.Build().ToArray()) },
                        ],
                    },
                ],
            },
            cancellation).ConfigureAwait(false);
        var answer = response.Responses[0].PartitionResponses[0];
        return answer.ErrorCode == ErrorCode.None
            ? answer.BaseOffset
            : throw new AdminException(
                $"The cancel was refused: {ErrorCodes.Name(answer.ErrorCode)} {answer.ErrorMessage}".TrimEnd() + ".");
    }

    /// <summary>Waits until the broker has acted on the cancels.</summary>
    private async Task SettleAsync(
        AdminConnection leader, AdminPartition partition, List<long> targets, CancellationToken cancellation)
    {
        var began = time.GetTimestamp();
        while (true)
        {
            var now = await PendingPartition.FindAsync(leader, partition, targets, cancellation).ConfigureAwait(false);
            if (now.Entries.Count == 0)
                return;
            if (time.GetElapsedTime(began) > Limit)
            {
                throw new AdminException($"The cancel is written, but {partition.Topic}-{partition.Index} still has "
                    + $"offset {Number(now.Entries[0].Offset)} pending.");
            }

            await Task.Delay(TimeSpan.FromMilliseconds(20), time, cancellation).ConfigureAwait(false);
        }
    }

    /// <summary>Reads the log as a consumer, from where records were pending up to the cancels.</summary>
    /// <returns>Origins that were delivered there, and where.</returns>
    private async Task<Dictionary<long, long>> FindDeliveriesAsync(
        AdminConnection leader, AdminPartition partition, long from, long end, CancellationToken cancellation)
    {
        var found = new Dictionary<long, long>();
        using var codecs = new CompressionCodecs();
        var began = time.GetTimestamp();
        while (from < end)
        {
            var data = await FetchAsync(leader, partition, from, cancellation).ConfigureAwait(false);
            if (data.ErrorCode != ErrorCode.None)
                throw new AdminException($"The cancel is written, but the log cannot be read: "
                    + $"{ErrorCodes.Name(data.ErrorCode)}.");
            var next = Read(new ReadOnlySequence<byte>(data.Records?.ToArray() ?? []), codecs, found);
            if (next > from)
                began = time.GetTimestamp();
            else if (time.GetElapsedTime(began) > Limit)
                throw new AdminException($"The cancel is written, but the log cannot be read behind offset {from}.");
            from = Math.Max(from, next);
        }

        return found;
    }

    private static async Task<FetchResponse.PartitionData> FetchAsync(
        AdminConnection leader, AdminPartition partition, long offset, CancellationToken cancellation)
    {
        var response = await leader.CallAsync<FetchResponse>(
            new FetchRequest
            {
                MaxWaitMs = PollMs,
                MinBytes = 1,
                MaxBytes = FetchBytes,
                Topics =
                [
                    new()
                    {
                        Topic = partition.Topic,
                        TopicId = partition.TopicId,
                        Partitions =
                        [
                            new()
                            {
                                Partition = partition.Index,
                                FetchOffset = offset,
                                PartitionMaxBytes = FetchBytes,
                            },
                        ],
                    },
                ],
            },
            cancellation).ConfigureAwait(false);
        return response.ErrorCode == ErrorCode.None
            ? response.Responses[0].Partitions[0]
            : throw new AdminException($"The cancel is written, but the log cannot be read: "
                + $"{ErrorCodes.Name(response.ErrorCode)}.");
    }

    /// <returns>The offset behind the last whole batch; -1 without one.</returns>
    private static long Read(
        ReadOnlySequence<byte> batches, CompressionCodecs codecs, Dictionary<long, long> found)
    {
        var next = -1L;
        while (RecordBatches.Inspect(batches, out var header) == RecordBatchStatus.Whole)
        {
            using var reader = new RecordBatchReader(batches.Slice(0, header.SizeInBytes), codecs, int.MaxValue);
            while (!header.IsControl && reader.TryRead(out var record))
            {
                foreach (var recordHeader in record.Headers)
                {
                    if (recordHeader.KeyUtf8.Span.SequenceEqual("kbroker-origin-offset"u8)
                        && recordHeader.Value is { } value
                        && Utf8Parser.TryParse(value.Span, out long origin, out _))
                        found[origin] = record.Offset;
                }
            }

            next = header.NextOffset;
            batches = batches.Slice(header.SizeInBytes);
        }

        return next;
    }
}
