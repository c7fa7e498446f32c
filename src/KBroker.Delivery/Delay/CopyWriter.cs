using System.Buffers;
using System.Buffers.Text;
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

    /// <summary>Digits and sign of the longest number.</summary>
    private const int NumberBytesMax = 20;

    private static readonly ReadOnlyMemory<byte> DeliverAtKey = Encoding.UTF8.GetBytes(DeliveryHeaders.DeliverAt);
    private static readonly ReadOnlyMemory<byte> OriginOffsetKey = Encoding.UTF8.GetBytes(DeliveryHeaders.OriginOffset);
    private static readonly ReadOnlyMemory<byte> OriginTimestampKey =
        Encoding.UTF8.GetBytes(DeliveryHeaders.OriginTimestamp);

    private readonly List<RecordHeader> _headers = [];
    private readonly byte[] _numbers = new byte[3 * NumberBytesMax];
    private RecordBatchBuilder? _builder;
    private int _numbersUsed;

    /// <summary>Number of records in the batch.</summary>
    public int Count => _builder?.RecordsCount ?? 0;

    /// <summary>Begins a batch anew.</summary>
    public void Clear()
    {
        _builder?.Dispose();
        _builder = null;
    }

    /// <summary>Adds the copy of a record, unless the batch is large enough; an empty batch takes any record.</summary>
    /// <param name="pending">Which one.</param>
    /// <param name="record">Its bytes: the original, or a carried copy.</param>
    /// <param name="compression">The codec of the batch that it is from; the first record's is the copies'.</param>
    /// <param name="nowMs">The time, epoch ms.</param>
    /// <returns>Whether it was added; if not, the batch is to be appended first.</returns>
    public bool TryAdd(in PendingRecord pending, in Record record, CompressionType compression, long nowMs)
    {
        if (IsFull)
            return false;
        Begin(compression).Append(nowMs, record.Key, record.Value, HeadersOf(pending, record));
        return true;
    }

    /// <summary>As the other one, with headers that the caller chooses.</summary>
    /// <param name="record">What is copied; its request headers are not.</param>
    /// <param name="compression">The codec of the batch that it is from; the first record's is the copies'.</param>
    /// <param name="nowMs">The time, epoch ms.</param>
    /// <param name="added">Headers that the copy gets.</param>
    /// <returns>Whether it was added; if not, the batch is to be appended first.</returns>
    public bool TryAdd(
        in Record record, CompressionType compression, long nowMs, ReadOnlySpan<RecordHeader> added)
    {
        if (IsFull)
            return false;
        _headers.Clear();
        foreach (var header in record.Headers)
        {
            if (IsUsers(header.KeyUtf8.Span))
                _headers.Add(header);
        }

        _headers.AddRange(added);
        Begin(compression).Append(
            nowMs, record.Key, record.Value, RecordHeaders.Create(CollectionsMarshal.AsSpan(_headers)));
        return true;
    }

    /// <summary>The timestamp that a record had when a client sent it.</summary>
    public static RecordHeader OriginTimestamp(in Record record) => new(
        OriginTimestampKey,
        record.Headers.TryGetLast(OriginTimestampKey.Span, out var known) && known is not null
            ? known
            : Encoding.ASCII.GetBytes(record.Timestamp.ToString(CultureInfo.InvariantCulture)));

    /// <summary>Appends the batch, and begins another.</summary>
    /// <param name="partition">Where to.</param>
    /// <param name="commandEnd">The commands that were taken into account; null when they do not matter.</param>
    /// <returns>What became of it.</returns>
    public PartitionAppend Append(Partition partition, long? commandEnd)
    {
        var built = _builder ?? throw new InvalidOperationException("There is nothing to append.");
        try
        {
            return partition.AppendAsLeader(
                new ReadOnlySequence<byte>(built.Build()),
                requiredAcks: -1,
                new AppendOptions
                {
                    Origin = AppendOrigin.Delivery,
                    CrcIsChecked = true,
                    CommandEnd = commandEnd,
                });
        }
        finally
        {
            Clear();
        }
    }

    public void Dispose() => Clear();

    private bool IsFull =>
        _builder is { } begun && (Count >= RecordsMax || begun.UncompressedBytes >= BytesMax);

    private static bool IsUsers(ReadOnlySpan<byte> key) =>
        !DeliveryHeaders.IsRequest(key) && !DeliveryHeaders.IsBrokerWritten(key);

    /// <summary>Many partitions have such a writer, so it holds no buffer between two batches.</summary>
    private RecordBatchBuilder Begin(CompressionType compression) => _builder ??= new RecordBatchBuilder(
        new RecordBatchOptions
        {
            Compression = compression,
            ExtraAttributes = kind switch
            {
                CopyKind.Hidden =>
                    RecordBatchAttributes.Copying | RecordBatchAttributes.Hiding | RecordBatchAttributes.AllHidden,
                CopyKind.Delivered => RecordBatchAttributes.Copying,
                _ => RecordBatchAttributes.None,
            },
        },
        codecs);

    private RecordHeaders HeadersOf(in PendingRecord pending, in Record record)
    {
        _headers.Clear();
        _numbersUsed = 0;
        ReadOnlyMemory<byte>? originTimestamp = null;
        foreach (var header in record.Headers)
        {
            var key = header.KeyUtf8.Span;
            if (key.SequenceEqual(OriginTimestampKey.Span))
                originTimestamp = header.Value;
            else if (IsUsers(key))
                _headers.Add(header);
        }

        if (kind == CopyKind.Hidden)
            _headers.Add(new RecordHeader(DeliverAtKey, Number(pending.DueMs)));
        _headers.Add(new RecordHeader(OriginOffsetKey, Number(pending.Origin)));
        _headers.Add(new RecordHeader(OriginTimestampKey, originTimestamp ?? Number(record.Timestamp)));
        return RecordHeaders.Create(CollectionsMarshal.AsSpan(_headers));
    }

    /// <summary>Decimal digits, valid until the next record.</summary>
    private ReadOnlyMemory<byte> Number(long number)
    {
        Utf8Formatter.TryFormat(number, _numbers.AsSpan(_numbersUsed), out var length);
        _numbersUsed += length;
        return _numbers.AsMemory(_numbersUsed - length, length);
    }
}
