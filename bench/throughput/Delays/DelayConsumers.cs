using System.Buffers.Binary;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;

namespace KBroker.Throughput.Delays;

/// <summary>
/// Consumers that long-poll all places, two connections with half of them each, and note for every visible record how
/// long after the instant in its value its timestamp is, and how long after that they saw it.
/// </summary>
internal sealed class DelayConsumers : IDisposable
{
    private const short FetchVersion = 17;
    private const int Connections = 2;
    private const int FetchBytes = 1 << 20;
    private const int MaxWaitMs = 200;
    private static readonly CompressionCodecs Codecs = new();
    private readonly List<Thread> _threads = [];
    private readonly List<Exception> _problems = [];
    private int _seen;
    private volatile bool _isStopping;

    internal DelayConsumers(int port, List<DelayTopics.Place> places)
    {
        for (int i = 0; i < Connections; i++)
        {
            var own = places.Where((_, number) => number % Connections == i).ToList();
            var thread = new Thread(() => Follow(port, own));
            thread.Start();
            _threads.Add(thread);
        }
    }

    /// <summary>From due to the timestamp of the copy, ms.</summary>
    internal List<double> Appended { get; } = [];

    /// <summary>From due to when the consumer had it, ms.</summary>
    internal List<double> Seen { get; } = [];

    internal int Count => Volatile.Read(ref _seen);

    /// <summary>Ends the consumers; the figures can be read then.</summary>
    public void Dispose()
    {
        _isStopping = true;
        _threads.ForEach(static thread => thread.Join());
        if (_problems.Count > 0) throw new InvalidOperationException(_problems[0].Message, _problems[0]);
    }

    private void Follow(int port, List<DelayTopics.Place> places)
    {
        try
        {
            using var connection = new ProtocolConnection(port, 16 << 20);
            var offsets = places.ToDictionary(static place => (place.Topic.Id, place.Partition), static _ => 0L);
            while (!_isStopping)
            {
                var answer = connection.Call<FetchResponse>(Request(places, offsets), FetchVersion);
                double now = (DateTime.UtcNow - DateTime.UnixEpoch).TotalMilliseconds;
                foreach (var topic in answer.Responses)
                {
                    foreach (var partition in topic.Partitions)
                    {
                        if (partition.ErrorCode != ErrorCode.None)
                            throw new InvalidOperationException($"Fetch: {partition.ErrorCode}");
                        var key = (topic.TopicId, partition.PartitionIndex);
                        offsets[key] = Take(partition.Records ?? Records.Empty, offsets[key], now);
                    }
                }
            }
        }
        catch (Exception problem)
        {
            lock (_problems) _problems.Add(problem);
        }
    }

    private long Take(Records records, long offset, double now)
    {
        if (!records.TryGetBytes(out var bytes)) return offset;
        while (RecordBatchHeader.TryParse(bytes, out var header) && header.SizeInBytes <= bytes.Length)
        {
            if (!header.IsControl) Note(bytes.Slice(0, header.SizeInBytes), now);
            offset = header.NextOffset;
            bytes = bytes.Slice(header.SizeInBytes);
        }

        return offset;
    }

    private void Note(in System.Buffers.ReadOnlySequence<byte> batch, double now)
    {
        using var reader = new RecordBatchReader(batch, Codecs, int.MaxValue);
        lock (Appended)
        {
            while (reader.TryRead(out var record))
            {
                long due = BinaryPrimitives.ReadInt64BigEndian(record.Value!.Value.Span);
                Appended.Add(record.Timestamp - due);
                Seen.Add(now - due);
                _seen++;
            }
        }
    }

    private static FetchRequest Request(
        List<DelayTopics.Place> places, Dictionary<(Uuid, int), long> offsets)
    {
        var request = new FetchRequest { MaxWaitMs = MaxWaitMs, MinBytes = 1, MaxBytes = 8 << 20 };
        foreach (var group in places.GroupBy(static place => place.Topic))
        {
            var topic = new FetchRequest.FetchTopic { TopicId = group.Key.Id };
            foreach (var (_, partition) in group)
            {
                topic.Partitions.Add(new()
                {
                    Partition = partition,
                    FetchOffset = offsets[(group.Key.Id, partition)],
                    PartitionMaxBytes = FetchBytes,
                });
            }

            request.Topics.Add(topic);
        }

        return request;
    }
}
