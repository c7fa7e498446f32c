using System.Buffers;
using System.Diagnostics;
using System.Text;
using KBroker.Crash.History;
using KBroker.Crash.Load;
using KBroker.Crash.Transactions;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;
using KBroker.Protocol.Records.Delivery;
using KBroker.Throughput;

namespace KBroker.Crash.Delays;

/// <summary>Reads partitions as a consumer with read_uncommitted does, record by record with headers.</summary>
internal sealed class DelayWire(int port) : IDisposable
{
    /// <summary>The header that producers give their records, beside requests.</summary>
    public const string UserHeader = "mine";

    private const int FetchBytes = 1 << 20;
    private const int TimeoutMs = 20_000;
    private const int WaitMs = 20;
    private const short FetchVersion = 11;
    private const long Earliest = -2;
    private readonly ProtocolConnection _connection = new(port, FetchBytes, TimeoutMs);
    private readonly CompressionCodecs _codecs = new();

    /// <summary>The time, epoch ms.</summary>
    public static long NowMs => TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();

    /// <summary>The start of a partition.</summary>
    public long StartOf(Place place)
    {
        var result = _connection.Call<ListOffsetsResponse>(
            new ListOffsetsRequest
            {
                ReplicaId = -1,
                Topics =
                [
                    new()
                    {
                        Name = place.Topic,
                        Partitions = [new() { PartitionIndex = place.Partition, Timestamp = Earliest }],
                    },
                ],
            },
            5).Topics[0].Partitions[0];
        return result.ErrorCode == ErrorCode.None
            ? result.Offset
            : throw new WireException(result.ErrorCode, $"ListOffsets {place}");
    }

    /// <summary>One fetch from several partitions.</summary>
    /// <returns>A stretch for each that is ready; null where the offset is not there any more.</returns>
    public List<(Place Place, DelayStretch? Stretch)> Fetch(IReadOnlyDictionary<Place, long> from)
    {
        var answer = _connection.Call<FetchResponse>(
            new FetchRequest
            {
                MaxWaitMs = WaitMs,
                MinBytes = 1,
                MaxBytes = FetchBytes,
                Topics =
                [
                    .. from.GroupBy(static f => f.Key.Topic).Select(static topic => new FetchRequest.FetchTopic
                    {
                        Topic = topic.Key,
                        Partitions =
                        [
                            .. topic.Select(static f => new FetchRequest.FetchPartition
                            {
                                Partition = f.Key.Partition,
                                FetchOffset = f.Value,
                                PartitionMaxBytes = FetchBytes,
                            }),
                        ],
                    }),
                ],
            },
            FetchVersion);
        var seenMs = NowMs;
        var stretches = new List<(Place Place, DelayStretch? Stretch)>();
        foreach (var topic in answer.Responses)
        {
            foreach (var data in topic.Partitions)
            {
                var place = new Place(topic.Topic, data.PartitionIndex);
                if (data.ErrorCode == ErrorCode.None)
                    stretches.Add((place, Decode(data, from[place], seenMs)));
                else if (data.ErrorCode == ErrorCode.OffsetOutOfRange)
                    stretches.Add((place, null));
                else if (data.ErrorCode is not (ErrorCode.NotLeaderOrFollower or ErrorCode.UnknownTopicOrPartition))
                    throw new WireException(data.ErrorCode, $"Fetch {place} at {from[place]}");
            }
        }

        return stretches;
    }

    /// <summary>Reads a partition from its start to the end that it has now.</summary>
    public DelayStretch ReadAll(Place place)
    {
        var start = StartOf(place);
        var all = new DelayStretch(start, start, -1, [], []);
        for (var began = Stopwatch.GetTimestamp(); all.HighWatermark < 0 || all.Next < all.HighWatermark;)
        {
            if (Stopwatch.GetElapsedTime(began).TotalMilliseconds > TimeoutMs)
                throw new InvalidDataException(
                    $"stuck: {place} is read up to {all.Next}, its end is {all.HighWatermark}");
            var end = all.HighWatermark;
            if (Fetch(new Dictionary<Place, long> { [place] = all.Next }) is not [var (_, next)])
                continue;
            if (next is null)
            {
                // Retention was quicker.
                start = StartOf(place);
                all = new DelayStretch(start, start, -1, [], []);
                continue;
            }

            all = new DelayStretch(
                start, next.Next, end < 0 ? next.HighWatermark : end, [.. all.Records, .. next.Records],
                [.. all.Markers, .. next.Markers]);
        }

        return all;
    }

    public void Dispose()
    {
        _connection.Dispose();
        _codecs.Dispose();
    }

    private DelayStretch Decode(FetchResponse.PartitionData data, long from, long seenMs)
    {
        var records = new List<DelayFound>();
        var markers = new List<DelayMarker>();
        var next = from;
        if (data.Records is { } answer && answer.TryGetBytes(out var bytes))
        {
            // The last batch may be cut off; it comes with the next fetch.
            while (RecordBatches.Inspect(bytes, out var header) == RecordBatchStatus.Whole)
            {
                var batch = bytes.Slice(0, header.SizeInBytes);
                RecordBatches.EnsureValidCrc(batch);
                Decode(batch, header, from, seenMs, records, markers);
                next = Math.Max(next, header.NextOffset);
                bytes = bytes.Slice(header.SizeInBytes);
            }
        }

        return new DelayStretch(from, next, data.HighWatermark, records, markers);
    }

    private void Decode(
        in ReadOnlySequence<byte> batch,
        in RecordBatchHeader header,
        long from,
        long seenMs,
        List<DelayFound> records,
        List<DelayMarker> markers)
    {
        using var reader = new RecordBatchReader(batch, _codecs, 1 << 24);
        while (reader.TryRead(out var record))
        {
            if (record.Offset < from)
                continue;
            if (!header.IsControl)
                records.Add(Found(record, header, seenMs));
            else if (ControlRecord.TryParseKey(record.Key, out var type)
                && type is ControlRecordType.Commit or ControlRecordType.Abort)
                markers.Add(new DelayMarker(record.Offset, header.ProducerId, type == ControlRecordType.Commit));
        }
    }

    private static DelayFound Found(in Record record, in RecordBatchHeader header, long seenMs)
    {
        var found = new DelayFound(record.Offset, record.Value is { } v ? RecordId.FromValue(v.Span) : null)
        {
            Key = record.Key is { } key ? Encoding.UTF8.GetString(key.Span) : null,
            TimestampMs = header.TimestampType == TimestampType.LogAppendTime ? header.MaxTimestamp : record.Timestamp,
            IsTransactional = header.IsTransactional,
            SeenMs = seenMs,
        };
        foreach (var entry in record.Headers)
        {
            var text = Encoding.UTF8.GetString(entry.Value.GetValueOrDefault().Span);
            found = entry.Key switch
            {
                UserHeader => found with { UserHeader = text },
                DeliveryHeaders.OriginOffset => found with { OriginOffset = long.Parse(text) },
                DeliveryHeaders.OriginTimestamp => found with { OriginTimestampMs = long.Parse(text) },
                _ => found with { HasRequest = true },
            };
        }

        return found;
    }
}
