using System.Buffers;
using System.Security.Cryptography;
using System.Text;
using KBroker.Compat.Interchange.Tests.Wire;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;

namespace KBroker.Compat.Interchange.Tests.Portraits;

/// <summary>Takes the portrait of one partition: its batches and records, offsets, epochs and producers.</summary>
internal sealed class PartitionPortrait(
    WireClient client, Portrait portrait, string topic, Uuid topicId, int partition, CompressionCodecs codecs)
{
    private const int FetchBytes = 8 * 1024 * 1024;
    private const int MaxDecompressedBytes = 64 * 1024 * 1024;

    private readonly string _name = $"{topic}-{partition}";
    private readonly SortedSet<int> _epochs = [];
    private readonly List<long> _timestamps = [];
    private long _start;
    private long _end;

    public async Task TakeAsync()
    {
        await TakeRecordsAsync();
        await TakeCommittedAsync();
        await TakeOffsetsAsync();
        await TakeEpochsAsync();
        await TakeProducersAsync();
    }

    private async Task TakeRecordsAsync()
    {
        portrait.Begin(Section.Records);
        await foreach (var (header, records) in ReadAsync(isolation: 0, facts: true))
        {
            _epochs.Add(header.PartitionLeaderEpoch);
            _timestamps.AddRange(records.Select(r => r.Timestamp));
            portrait.Add(Section.Records, $"{_name} batch {header.BaseOffset:D12}",
                $"to {header.LastOffset} {header.Compression} {header.TimestampType} {(int)header.Attributes:x}"
                + $" epoch {header.PartitionLeaderEpoch} producer {header.ProducerId}/{header.ProducerEpoch}"
                + $" sequence {header.BaseSequence} timestamps {header.BaseTimestamp}..{header.MaxTimestamp}"
                + $" records {header.RecordsCount} bytes {header.SizeInBytes} crc {header.Crc:x8}");
            foreach (var record in records)
                portrait.Add(Section.Records, $"{_name} record {record.Offset:D12}", record.Text);
        }
    }

    /// <summary>What a read-committed consumer keeps after it has left out what was aborted.</summary>
    private async Task TakeCommittedAsync()
    {
        var aborted = new SortedSet<(long First, long Producer)>();
        var kept = new List<long>();
        var open = new HashSet<long>();
        await foreach (var (header, records) in ReadAsync(isolation: 1, facts: false, aborted))
        {
            if (header.IsControl)
            {
                open.Remove(header.ProducerId);
                continue;
            }

            if (header.IsTransactional
                && aborted.Any(a => a.Producer == header.ProducerId && a.First == header.BaseOffset))
                open.Add(header.ProducerId);
            if (!header.IsTransactional || !open.Contains(header.ProducerId))
                kept.AddRange(records.Select(r => r.Offset));
        }

        portrait.Add(Section.Committed, $"{_name} aborted", string.Join(' ', aborted.Select(a =>
            $"{a.Producer}@{a.First}")));
        portrait.Add(Section.Committed, $"{_name} visible", $"{kept.Count}: {Short(string.Join(' ', kept))}");
    }

    private async Task TakeOffsetsAsync()
    {
        foreach (var isolation in (sbyte[])[0, 1])
            foreach (var (name, timestamp) in ((string, long)[])[("latest", -1), ("earliest", -2),
                ("max timestamp", -3), ("earliest local", -4), ("last tiered", -5), ("first not tiered", -6)])
            {
                var found = await ListAsync(timestamp, isolation);
                // Kafka also finds records that lie below the log's start, until their segment is deleted.
                if (timestamp == -3 && _start > 0)
                    continue;
                // Where no record is, the epoch is the leader's own, which each start may raise.
                var text = timestamp == -1 || (timestamp is -2 or -4 && found.Offset == _end)
                    ? $"{found.ErrorCode} {found.Offset}"
                    : $"{found.ErrorCode} {found.Offset} at {found.Timestamp} epoch {found.LeaderEpoch}";
                portrait.Add(Section.Offsets, $"{_name} {name}, isolation {isolation}", text);
            }

        foreach (var timestamp in Sample(_timestamps.Distinct().Order().ToList(), 10).SelectMany(t =>
            (long[])[t, t + 1]).Distinct())
        {
            var found = await ListAsync(timestamp, 0);
            portrait.Add(Section.Offsets, $"{_name} at {timestamp}",
                $"{found.ErrorCode} {found.Offset} at {found.Timestamp} epoch {found.LeaderEpoch}");
        }
    }

    private async Task TakeEpochsAsync()
    {
        portrait.Begin(Section.Epochs);
        foreach (var epoch in _epochs)
        {
            var answer = await client.SendAsync<OffsetForLeaderEpochResponse>(new OffsetForLeaderEpochRequest
            {
                Topics = [new() { Topic = topic, Partitions = [new() { Partition = partition, LeaderEpoch = epoch }] }],
            });
            var end = answer.Topics[0].Partitions[0];
            portrait.Add(
                Section.Epochs, $"{_name} epoch {epoch}", $"{end.ErrorCode} {end.LeaderEpoch} {end.EndOffset}");
        }
    }

    private async Task TakeProducersAsync()
    {
        portrait.Begin(Section.Producers);
        var answer = await client.SendAsync<DescribeProducersResponse>(new DescribeProducersRequest
        {
            Topics = [new() { Name = topic, PartitionIndexes = [partition] }],
        });
        var result = answer.Topics[0].Partitions[0];
        Assert.Equal(ErrorCode.None, result.ErrorCode);
        foreach (var p in result.ActiveProducers)
            portrait.Add(Section.Producers, $"{_name} producer {p.ProducerId}",
                $"epoch {p.ProducerEpoch} last sequence {p.LastSequence} at {p.LastTimestamp}"
                + $" coordinator epoch {p.CoordinatorEpoch} transaction from {p.CurrentTxnStartOffset}");
    }

    private async Task<ListOffsetsResponse.ListOffsetsPartitionResponse> ListAsync(long timestamp, sbyte isolation)
    {
        var answer = await client.SendAsync<ListOffsetsResponse>(new ListOffsetsRequest
        {
            ReplicaId = -1,
            IsolationLevel = isolation,
            TimeoutMs = 30_000,
            Topics =
            [
                new() { Name = topic, Partitions = [new() { PartitionIndex = partition, Timestamp = timestamp }] },
            ],
        });
        return answer.Topics[0].Partitions[0];
    }

    private async IAsyncEnumerable<(RecordBatchHeader Header, List<ReadRecord> Records)> ReadAsync(
        sbyte isolation, bool facts, SortedSet<(long First, long Producer)>? aborted = null)
    {
        var start = await ListAsync(-2, 0);
        Assert.Equal(ErrorCode.None, start.ErrorCode);
        var offset = start.Offset;
        var end = (await ListAsync(-1, isolation)).Offset;
        if (facts)
        {
            (_start, _end) = (offset, end);
            portrait.Add(Section.Records, $"{_name} range", $"{offset} to {end}");
        }

        while (offset < end)
        {
            var answer = await client.SendAsync<FetchResponse>(Fetch(offset, isolation));
            Assert.Equal(ErrorCode.None, answer.ErrorCode);
            var data = answer.Responses.Single().Partitions.Single();
            Assert.True(data.ErrorCode == ErrorCode.None, $"{_name}: fetch at {offset} answers {data.ErrorCode}");
            Assert.Equal(start.Offset, data.LogStartOffset);
            foreach (var a in data.AbortedTransactions ?? [])
                aborted?.Add((a.FirstOffset, a.ProducerId));
            var before = offset;
            foreach (var (header, records) in Decode(data.Records?.ToArray() ?? [], offset, start.Offset))
            {
                yield return (header, records);
                offset = header.NextOffset;
            }

            Assert.True(offset > before, $"{_name}: nothing can be read at {before}, the end is {end}");
        }
    }

    private FetchRequest Fetch(long offset, sbyte isolation) => new()
    {
        MaxWaitMs = 500,
        MinBytes = 1,
        MaxBytes = FetchBytes,
        IsolationLevel = isolation,
        Topics =
        [
            new()
            {
                Topic = topic,
                TopicId = topicId,
                Partitions = [new() { Partition = partition, FetchOffset = offset, PartitionMaxBytes = FetchBytes }],
            },
        ],
    };

    /// <summary>The whole batches of an answer that end at or behind an offset; the last one may be cut off.</summary>
    private List<(RecordBatchHeader Header, List<ReadRecord> Records)> Decode(byte[] bytes, long offset, long start)
    {
        var found = new List<(RecordBatchHeader, List<ReadRecord>)>();
        for (var at = 0; RecordBatches.Inspect(new ReadOnlySequence<byte>(bytes.AsMemory(at)), out var header)
            == RecordBatchStatus.Whole; at += header.SizeInBytes)
        {
            var batch = new ReadOnlySequence<byte>(bytes.AsMemory(at, header.SizeInBytes));
            RecordBatches.EnsureValidCrc(batch);
            if (header.NextOffset <= offset)
                continue;
            var records = new List<ReadRecord>();
            using var reader = new RecordBatchReader(batch, codecs, MaxDecompressedBytes);
            while (reader.TryRead(out var record))
                if (record.Offset >= start)
                    records.Add(new ReadRecord(record.Offset, record.Timestamp, Text(record)));
            found.Add((header, records));
        }

        return found;
    }

    private static string Text(in Protocol.Records.Record record)
    {
        var headers = new List<string>();
        foreach (var header in record.Headers)
            headers.Add($"{header.Key}={Bytes(header.Value)}");
        return $"at {record.Timestamp} sequence {record.Sequence} key {Bytes(record.Key)} value {Bytes(record.Value)}"
            + $" headers [{string.Join(", ", headers)}]";
    }

    private static string Bytes(ReadOnlyMemory<byte>? bytes) => bytes is not { } given ? "null"
        : given.Length > 48 ? $"{given.Length} bytes {Convert.ToHexString(SHA1.HashData(given.Span))}"
        : given.Span.ContainsAnyExceptInRange((byte)' ', (byte)'~') ? "0x" + Convert.ToHexString(given.Span)
        : '"' + Encoding.ASCII.GetString(given.Span) + '"';

    private static string Short(string text) => text.Length <= 200
        ? text : $"{text[..150]}... {Convert.ToHexString(SHA1.HashData(Encoding.ASCII.GetBytes(text)))}";

    /// <summary>At most so many of a list, evenly, with its first and last.</summary>
    private static IEnumerable<long> Sample(List<long> all, int count) => all.Count <= count
        ? all : Enumerable.Range(0, count).Select(i => all[(int)((long)i * (all.Count - 1) / (count - 1))]);

    private sealed record ReadRecord(long Offset, long Timestamp, string Text);
}
