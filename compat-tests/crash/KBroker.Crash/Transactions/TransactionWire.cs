using System.Buffers;
using System.Diagnostics;
using KBroker.Crash.History;
using KBroker.Crash.Load;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;
using KBroker.Throughput;

namespace KBroker.Crash.Transactions;

/// <summary>What the check asks the broker: one request after the other, each of them once.</summary>
internal sealed class TransactionWire(int port) : IDisposable
{
    private const int FetchBytes = 1 << 17;
    private const int TimeoutMs = 20_000;
    private const short FetchVersion = 11;
    private const sbyte ReadCommitted = 1;
    private readonly ProtocolConnection _connection = new(port, FetchBytes, TimeoutMs);
    private readonly CompressionCodecs _codecs = new();

    /// <summary>Where read_committed readers end, and where the partition does.</summary>
    public (long LastStableOffset, long HighWatermark) Ends(Place place)
    {
        var data = Fetch(place, 0, 0, maxBytes: 1);
        return (data.LastStableOffset, data.HighWatermark);
    }

    /// <summary>Reads a partition as both kinds of readers do.</summary>
    public PartitionView Read(Place place)
    {
        var all = new List<FoundRecord>();
        var byMarkers = new List<FoundRecord>();
        var undecided = new Dictionary<long, List<FoundRecord>>();
        var end = ReadBatches(place, 0, (_, header, records) =>
        {
            if (header.IsControl)
            {
                if (undecided.Remove(header.ProducerId, out var decided) && IsCommit(records))
                    byMarkers.AddRange(decided);
                return;
            }

            var found = Records(header, records);
            all.AddRange(found);
            if (!header.IsTransactional)
                byMarkers.AddRange(found);
            else if (undecided.TryGetValue(header.ProducerId, out var before))
                before.AddRange(found);
            else
                undecided[header.ProducerId] = found;
        });

        var committed = new List<FoundRecord>();
        var aborted = new HashSet<long>();
        var pending = new Queue<FetchResponse.AbortedTransaction>();
        FetchResponse.PartitionData? current = null;
        ReadBatches(place, ReadCommitted, (data, header, records) =>
        {
            if (data != current)
            {
                current = data;
                aborted.Clear();
                pending = new Queue<FetchResponse.AbortedTransaction>(
                    (data.AbortedTransactions ?? []).OrderBy(static t => t.FirstOffset));
            }

            while (pending.TryPeek(out var next) && next.FirstOffset <= header.LastOffset)
                aborted.Add(pending.Dequeue().ProducerId);
            if (header.IsControl && !IsCommit(records))
                aborted.Remove(header.ProducerId);
            else if (!header.IsControl && !(header.IsTransactional && aborted.Contains(header.ProducerId)))
                committed.AddRange(Records(header, records));
        });
        return new PartitionView(place)
        {
            HighWatermark = end.HighWatermark,
            LastStableOffset = end.LastStableOffset,
            All = all,
            Committed = committed,
            CommittedByMarkers = [.. byMarkers.OrderBy(static r => r.Offset)],
            WithoutMarker = [.. undecided.Keys],
        };
    }

    /// <summary>Every transactional id and its state.</summary>
    public Dictionary<string, string> States()
    {
        var answer = Loaded(
            () => _connection.Call<ListTransactionsResponse>(new ListTransactionsRequest(), 0),
            static r => r.ErrorCode);
        return answer.ErrorCode == ErrorCode.None
            ? answer.TransactionStates.ToDictionary(static t => t.TransactionalId, static t => t.TransactionState)
            : throw new WireException(answer.ErrorCode, "ListTransactions");
    }

    /// <summary>The stable committed offset of a group; -1 for none, null while a transaction has one pending.</summary>
    public long? Offset(string group, Place place)
    {
        var answer = Loaded(
            () => _connection.Call<OffsetFetchResponse>(
                new OffsetFetchRequest
                {
                    Groups =
                    [
                        new()
                        {
                            GroupId = group,
                            Topics = [new() { Name = place.Topic, PartitionIndexes = [place.Partition] }],
                        },
                    ],
                    RequireStable = true,
                },
                8).Groups[0],
            static g => g.ErrorCode);
        if (answer.ErrorCode != ErrorCode.None)
            throw new WireException(answer.ErrorCode, $"OffsetFetch {group}");
        var partition = answer.Topics[0].Partitions[0];
        return partition.ErrorCode switch
        {
            ErrorCode.None => partition.CommittedOffset,
            ErrorCode.UnstableOffsetCommit => null,
            var error => throw new WireException(error, $"OffsetFetch {group} {place}"),
        };
    }

    public void Dispose()
    {
        _connection.Dispose();
        _codecs.Dispose();
    }

    /// <summary>Asks until the coordinator has read its log.</summary>
    private static T Loaded<T>(Func<T> ask, Func<T, ErrorCode> errorOf)
    {
        for (var started = Stopwatch.GetTimestamp(); ; Thread.Sleep(5))
        {
            var answer = ask();
            if (errorOf(answer) is not (ErrorCode.CoordinatorLoadInProgress or ErrorCode.NotCoordinator
                or ErrorCode.CoordinatorNotAvailable) || Stopwatch.GetElapsedTime(started).TotalMilliseconds > TimeoutMs)
                return answer;
        }
    }

    private (long LastStableOffset, long HighWatermark) ReadBatches(
        Place place,
        sbyte isolation,
        Action<FetchResponse.PartitionData, RecordBatchHeader, ReadOnlySequence<byte>> onBatch)
    {
        for (var next = 0L; ;)
        {
            var data = Fetch(place, next, isolation, FetchBytes);
            var end = isolation == ReadCommitted ? data.LastStableOffset : data.HighWatermark;
            if (next >= end)
                return (data.LastStableOffset, data.HighWatermark);
            var before = next;
            if (data.Records is { } records && records.TryGetBytes(out var bytes))
            {
                while (RecordBatches.Inspect(bytes, out var header) == RecordBatchStatus.Whole)
                {
                    var batch = bytes.Slice(0, header.SizeInBytes);
                    RecordBatches.EnsureValidCrc(batch);
                    onBatch(data, header, batch);
                    next = header.NextOffset;
                    bytes = bytes.Slice(header.SizeInBytes);
                }
            }

            if (next == before)
                throw new InvalidDataException($"{place}: nothing is read at {next}, the end is {end}");
        }
    }

    private FetchResponse.PartitionData Fetch(Place place, long offset, sbyte isolation, int maxBytes)
    {
        var data = _connection.Call<FetchResponse>(
            new FetchRequest
            {
                MaxBytes = maxBytes,
                IsolationLevel = isolation,
                Topics =
                [
                    new()
                    {
                        Topic = place.Topic,
                        Partitions =
                            [new() { Partition = place.Partition, FetchOffset = offset, PartitionMaxBytes = maxBytes }],
                    },
                ],
            },
            FetchVersion).Responses[0].Partitions[0];
        return data.ErrorCode == ErrorCode.None
            ? data
            : throw new WireException(data.ErrorCode, $"Fetch {place} at {offset}");
    }

    private List<FoundRecord> Records(RecordBatchHeader header, ReadOnlySequence<byte> batch)
    {
        var found = new List<FoundRecord>(header.RecordsCount);
        using var reader = new RecordBatchReader(batch, _codecs, 1 << 24);
        while (reader.TryRead(out var record))
            found.Add(new FoundRecord(record.Offset, record.Value is { } v ? RecordId.FromValue(v.Span) : null));
        return found;
    }

    private bool IsCommit(ReadOnlySequence<byte> batch)
    {
        using var reader = new RecordBatchReader(batch, _codecs, 1 << 24);
        return reader.TryRead(out var record) && ControlRecord.TryParseKey(record.Key, out var type)
            && type == ControlRecordType.Commit;
    }
}
