using System.Buffers.Binary;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;

namespace KBroker.Throughput;

/// <summary>
/// A produce request that is built once and sent many times: before each sending its batches get producer id, epoch
/// and sequence where they lie, and their checksum anew. Batches without a producer are treated the same, so that the
/// driver costs as much with them.
/// </summary>
internal sealed class ProducerFrame
{
    internal const short ProduceVersion = 13;
    private readonly (int At, int Bytes, int Partition, int Records)[] _batches;

    private ProducerFrame(byte[] bytes, (int At, int Bytes, int Partition, int Records)[] batches) =>
        (Bytes, _batches) = (bytes, batches);

    internal byte[] Bytes { get; }

    /// <summary>Bytes of the batches alone.</summary>
    internal int BatchBytes => _batches.Sum(static batch => batch.Bytes);

    /// <summary>Builds a request with one batch for each of some partitions.</summary>
    /// <param name="topicId">The topic.</param>
    /// <param name="transactionalId">Null for batches outside of transactions.</param>
    /// <param name="parts">The partitions, and how many records each gets.</param>
    /// <param name="recordBytes">Bytes of a record's value.</param>
    /// <param name="random">Makes the values.</param>
    internal static ProducerFrame Build(
        Uuid topicId,
        string? transactionalId,
        IReadOnlyList<(int Partition, int Records)> parts,
        int recordBytes,
        Random random)
    {
        var value = new byte[recordBytes];
        var batches = new List<byte[]>();
        foreach (var (_, records) in parts)
        {
            using var builder = new RecordBatchBuilder(
                new RecordBatchOptions { IsTransactional = transactionalId is not null });
            for (int i = 0; i < records; i++)
            {
                random.NextBytes(value);
                builder.Append(TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds(), null, value);
            }

            batches.Add(builder.Build().ToArray());
        }

        var request = new ProduceRequest
        {
            TransactionalId = transactionalId,
            Acks = -1,
            TimeoutMs = 30_000,
            TopicData =
            [
                new()
                {
                    TopicId = topicId,
                    PartitionData = [.. parts.Select((part, i) => new ProduceRequest.PartitionProduceData
                    {
                        Index = part.Partition, Records = new Records(batches[i]),
                    })],
                },
            ],
        };
        byte[] frame = ProtocolConnection.Frame(request, ProduceVersion);
        var placed = parts.Select((part, i) =>
            (frame.AsSpan().IndexOf(batches[i]), batches[i].Length, part.Partition, part.Records));
        return new ProducerFrame(frame, [.. placed]);
    }

    /// <summary>Gives the batches their producer; -1 and -1 for none.</summary>
    /// <param name="producerId">The id.</param>
    /// <param name="epoch">The epoch.</param>
    /// <param name="sequences">The next sequence of each partition, which this moves on.</param>
    internal void Stamp(long producerId, short epoch, int[] sequences)
    {
        foreach (var (at, bytes, partition, records) in _batches)
        {
            var batch = Bytes.AsSpan(at, bytes);
            BinaryPrimitives.WriteInt64BigEndian(batch[RecordBatchLayout.ProducerId..], producerId);
            BinaryPrimitives.WriteInt16BigEndian(batch[RecordBatchLayout.ProducerEpoch..], epoch);
            BinaryPrimitives.WriteInt32BigEndian(
                batch[RecordBatchLayout.BaseSequence..], producerId < 0 ? -1 : sequences[partition]);
            sequences[partition] += records;
            RecordBatchEditor.WriteCrc(batch);
        }
    }
}
