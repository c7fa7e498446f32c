using System.Buffers;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using KBroker.Cluster.Replication;
using KBroker.Protocol.Records;
using KBroker.Protocol.Records.Delivery;
using KBroker.Storage;

namespace KBroker.Delivery.Delay;

/// <summary>What copies of records are.</summary>
internal enum CopyKind
{
    /// <summary>The delivery of hidden records, in their partition.</summary>
    Delivered,

    /// <summary>Hidden themselves, in their partition: records carried forward, and what the broker notes.</summary>
    Hidden,

    /// <summary>Ordinary records of another topic.</summary>
    Foreign,
}

/// <summary>
/// Writes copies of delayed records to the end of their partition: the delivery, which consumers see, or a pending
/// record carried forward, which they do not. Not thread-safe.
/// </summary>
/// <remarks>
/// A delivered copy has key, value and headers of its original, without the request headers, with the delivery time as
/// timestamp, and with <c>kbroker-origin-offset</c> and <c>kbroker-origin-timestamp</c>. A carried one keeps its due
/// time as <c>kbroker-deliver-at</c>.
/// </remarks>
/// <param name="codecs">For compressed batches.</param>
/// <param name="kind">What the copies are.</param>
internal sealed class CopyWriter(CompressionCodecs codecs, CopyKind kind) : IDisposable
{
    /// <summary>Records of one batch, at most.</summary>
    public const int RecordsMax = 1000;

    /// <summary>Bytes of one batch before compression, but for a single larger record.</summary>
    public const int BytesMax = 512 * 1024;

    private readonly RecordBatchBuilder _builder = new(RecordBatchOptions.Default, codecs);
    private readonly List<RecordHeader> _headers = [];
    private CompressionType _compression;

    /// <summary>Number of records in the batch.</summary>
    public int Count { get; private set; }

    /// <summary>Begins a batch.</summary>
    public void Clear() => Count = 0;

    /// <summary>Adds the copy of a record, if the batch is not large enough and has its codec; an empty batch takes any
    /// record.</summary>
    /// <param name="pending">Which one.</param>
    /// <param name="record">Its bytes: the original, or a carried copy.</param>
    /// <param name="compression">The codec of the batch that it is from.</param>
    /// <param name="nowMs">The time, epoch ms.</param>
    /// <returns>Whether it was added; if not, the batch is to be appended first.</returns>
    public bool TryAdd(in PendingRecord pending, in Record record, CompressionType compression, long nowMs)
    {
        if (!HasRoom(compression))
            return false;
        Add(pending, record, nowMs);
        Count++;
        return true;
    }

    /// <summary>As the other one, with headers that the caller chooses.</summary>
    /// <param name="record">What is copied; its request headers are not.</param>
    /// <param name="compression">The codec of the batch that it is from.</param>
    /// <param name="nowMs">The time, epoch ms.</param>
    /// <param name="added">Headers that the copy gets.</param>
    public bool TryAdd(
        in Record record, CompressionType compression, long nowMs, ReadOnlySpan<RecordHeader> added)
    {
        if (!HasRoom(compression))
            return false;
        _headers.Clear();
        foreach (var header in record.Headers)
        {
            if (IsUsers(header.KeyUtf8.Span))
                _headers.Add(header);
        }

        _headers.AddRange(added);
        _builder.Append(
            nowMs, record.Key, record.Value, RecordHeaders.Create(CollectionsMarshal.AsSpan(_headers)));
        Count++;
        return true;
    }

    /// <summary>The timestamp that a record had when a client sent it.</summary>
    public static RecordHeader OriginTimestamp(in Record record) => new(
        DeliveryHeaders.OriginTimestamp,
        record.Headers.TryGetLast("kbroker-origin-timestamp"u8, out var known) && known is not null
            ? known
            : Number(record.Timestamp));

    /// <summary>Appends the batch, and begins another.</summary>
    /// <param name="partition">Where to.</param>
    /// <param name="commandEnd">The commands that were taken into account; null when they do not matter.</param>
    /// <returns>What became of it.</returns>
    public PartitionAppend Append(Partition partition, long? commandEnd)
    {
        Count = 0;
        return partition.AppendAsLeader(
            new ReadOnlySequence<byte>(_builder.Build()),
            requiredAcks: -1,
            new AppendOptions
            {
                Origin = AppendOrigin.Delivery,
                CrcIsChecked = true,
                CommandEnd = commandEnd,
            });
    }

    public void Dispose() => _builder.Dispose();

    private static ReadOnlyMemory<byte> Number(long number) =>
        Encoding.ASCII.GetBytes(number.ToString(CultureInfo.InvariantCulture));

    private static bool IsUsers(ReadOnlySpan<byte> key) =>
        !DeliveryHeaders.IsRequest(key) && !DeliveryHeaders.IsBrokerWritten(key);

    /// <summary>Whether another record may be added; begins an empty batch.</summary>
    private bool HasRoom(CompressionType compression)
    {
        if (Count == 0)
            Begin(compression);
        else if (compression != _compression || Count >= RecordsMax || _builder.UncompressedBytes >= BytesMax)
            return false;
        return true;
    }

    private void Begin(CompressionType compression)
    {
        _compression = compression;
        _builder.Reset(new RecordBatchOptions
        {
            Compression = compression,
            ExtraAttributes = kind switch
            {
                CopyKind.Hidden =>
                    RecordBatchAttributes.Copying | RecordBatchAttributes.Hiding | RecordBatchAttributes.AllHidden,
                CopyKind.Delivered => RecordBatchAttributes.Copying,
                _ => RecordBatchAttributes.None,
            },
        });
    }

    private void Add(in PendingRecord pending, in Record record, long nowMs)
    {
        _headers.Clear();
        ReadOnlyMemory<byte>? originTimestamp = null;
        foreach (var header in record.Headers)
        {
            var key = header.KeyUtf8.Span;
            if (key.SequenceEqual("kbroker-origin-timestamp"u8))
                originTimestamp = header.Value;
            else if (IsUsers(key))
                _headers.Add(header);
        }

        if (kind == CopyKind.Hidden)
            _headers.Add(new RecordHeader(DeliveryHeaders.DeliverAt, Number(pending.DueMs)));
        _headers.Add(new RecordHeader(DeliveryHeaders.OriginOffset, Number(pending.Origin)));
        _headers.Add(new RecordHeader(
            DeliveryHeaders.OriginTimestamp, originTimestamp ?? Number(record.Timestamp)));
        _builder.Append(
            nowMs, record.Key, record.Value, RecordHeaders.Create(CollectionsMarshal.AsSpan(_headers)));
    }
}
