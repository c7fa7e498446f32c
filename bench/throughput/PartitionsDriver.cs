using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;

namespace KBroker.Throughput;

/// <summary>
/// Direct clients of a topic with many partitions, which they divide among them. A produce request carries one batch
/// for each of several partitions, as those of librdkafka and the Java client do; a fetch session (KIP-227) holds all
/// partitions of its connection, and a request names those that moved on.
/// </summary>
internal sealed class PartitionsDriver(Settings settings)
{
    private const short ProduceVersion = 13;
    private const short FetchVersion = 17;
    private const int MaxWaitMs = 500;

    /// <summary>Java's max.in.flight.requests.per.connection.</summary>
    private const int InFlight = 5;

    /// <summary>Java's fetch.max.bytes is 50 MB; a buffer of 8 MB serves.</summary>
    private const int FetchBytes = 8 * 1024 * 1024;

    private const int PartitionFetchBytes = 1024 * 1024;

    // Different batches in turn, so that neither side finds the same bytes in its cache each time.
    private const int Batches = 16;

    /// <summary>The requests of one connection: each partition comes once in a cycle of them.</summary>
    /// <param name="Frames">Built before the clock starts.</param>
    /// <param name="Bytes">Of the batches of each frame.</param>
    internal sealed record Load(byte[][] Frames, long[] Bytes);

    /// <summary>Builds the requests of every connection.</summary>
    /// <param name="topic">The topic.</param>
    /// <param name="batchBytes">A batch has as many records as fit, at least one.</param>
    /// <param name="requestBytes">A request has as many batches as fit, at least one.</param>
    internal List<Load> Prepare(Topic topic, int batchBytes, int requestBytes)
    {
        var batches = BuildBatches(settings.RecordBytes[0], batchBytes);
        var each = Math.Max(1, requestBytes / batches[0].Length);
        var loads = new List<Load>();
        foreach (int[] mine in Shares(topic.Partitions))
        {
            var frames = new List<byte[]>();
            var bytes = new List<long>();
            // Of few partitions the same ones come several times, with other batches.
            for (int turn = 0; turn == 0 || frames.Count < 8; turn++)
            {
                foreach (int[] chunk in mine.Chunk(each))
                {
                    var request = Request(topic.Id, [.. chunk.Select(p => (p, batches[(p + turn) % Batches]))]);
                    frames.Add(ProtocolConnection.Frame(request, ProduceVersion));
                    bytes.Add(chunk.Sum(p => (long)batches[(p + turn) % Batches].Length));
                }
            }

            loads.Add(new Load([.. frames], [.. bytes]));
        }

        return loads;
    }

    /// <summary>Produces whole cycles of requests, at least so many bytes of batches in all.</summary>
    /// <returns>The bytes of batches acknowledged.</returns>
    internal long Produce(int port, List<Load> loads, long bytes)
    {
        long total = 0;
        DirectDriver.InThreads(loads.Count, index =>
        {
            using var connection = new ProtocolConnection(port);
            var (frames, sizes) = loads[index];
            long left = Math.Max(1, bytes / loads.Count), mine = 0;
            for (int sent = 0, answered = 0; answered < sent || mine < left || sent % frames.Length != 0;)
            {
                bool isEnd = mine >= left && sent % frames.Length == 0;
                if (!isEnd && sent - answered < InFlight)
                {
                    mine += sizes[sent % frames.Length];
                    connection.Send(frames[sent++ % frames.Length]);
                    continue;
                }

                Check(connection.Receive<ProduceResponse>(ApiKey.Produce, ProduceVersion));
                answered++;
            }

            Interlocked.Add(ref total, mine);
        });
        return total;
    }

    /// <summary>Fetches all partitions from their starts to their ends.</summary>
    /// <param name="port">Of the broker.</param>
    /// <param name="topic">The topic.</param>
    /// <param name="ends">The end offset of each partition.</param>
    internal void Fetch(int port, Topic topic, List<long> ends)
    {
        DirectDriver.InThreads(Math.Min(settings.Connections, topic.Partitions), index =>
        {
            using var connection = new ProtocolConnection(port, FetchBytes + (1024 * 1024));
            var session = new Session(connection, topic.Id, Shares(topic.Partitions)[index]);
            int left = session.Offsets.Keys.Count(p => ends[p] > 0);
            while (left > 0)
            {
                foreach (int partition in session.Next())
                {
                    if (session.Offsets[partition] >= ends[partition]) left--;
                }
            }
        });
    }

    /// <summary>
    /// One batch to one partition after the other, each only when the consumer that watches all of them has the one
    /// before: what a long poll of many partitions costs.
    /// </summary>
    internal void Tail(int port, Topic topic, int count)
    {
        using var consuming = new ProtocolConnection(port, 1024 * 1024);
        using var producing = new ProtocolConnection(port);
        var batch = BuildBatches(settings.RecordBytes[0], 0)[0];
        var session = new Session(consuming, topic.Id, Enumerable.Range(0, topic.Partitions));
        session.SkipTo(topic.EndOffsets());
        session.Next();
        for (int i = 0; i < count; i++)
        {
            session.Ask();
            var partition = (int)(i * 7919L % topic.Partitions);
            var frame = ProtocolConnection.Frame(Request(topic.Id, [(partition, batch)]), ProduceVersion);
            producing.Send(frame);
            Check(producing.Receive<ProduceResponse>(ApiKey.Produce, ProduceVersion));
            var moved = session.Take();
            while (moved.Count == 0) moved = session.Next();
            if (moved is not [var only] || only != partition)
                throw new InvalidDataException($"partition {partition} was written, {string.Join(',', moved)} read");
        }
    }

    private List<int[]> Shares(int partitions)
    {
        int shares = Math.Min(settings.Connections, partitions);
        return [.. Enumerable.Range(0, shares).Select(share =>
            Enumerable.Range(0, partitions).Where(p => p % shares == share).ToArray())];
    }

    private static List<byte[]> BuildBatches(int recordBytes, int batchBytes)
    {
        using var builder = new RecordBatchBuilder(RecordBatchOptions.Default);
        var random = new Random(7);
        var value = new byte[recordBytes];
        int most = RecordBatchBuilder.MaxRecordBytes(0, recordBytes);
        var batches = new List<byte[]>();
        for (int i = 0; i < Batches; i++)
        {
            builder.Reset(RecordBatchOptions.Default);
            long now = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();
            do
            {
                random.NextBytes(value);
                builder.Append(now, null, value);
            }
            while (builder.UncompressedBytes + most <= batchBytes);
            batches.Add(builder.Build().ToArray());
        }

        return batches;
    }

    private static void Check(ProduceResponse answer)
    {
        foreach (var partition in answer.Responses.SelectMany(t => t.PartitionResponses))
        {
            if (partition.ErrorCode != ErrorCode.None)
                throw new InvalidOperationException($"Produce: {partition.ErrorCode} {partition.ErrorMessage}");
        }
    }

    private ProduceRequest Request(Uuid topicId, List<(int Partition, byte[] Batch)> batches) => new()
    {
        Acks = settings.Acks,
        TimeoutMs = 30_000,
        TopicData =
        [
            new()
            {
                TopicId = topicId,
                PartitionData = batches.ConvertAll(b => new ProduceRequest.PartitionProduceData
                {
                    Index = b.Partition,
                    Records = new Records(b.Batch),
                }),
            },
        ],
    };

    /// <summary>A consumer's fetch session.</summary>
    private sealed class Session
    {
        private readonly ProtocolConnection _connection;
        private readonly Uuid _topicId;
        private readonly List<int> _moved;
        private int _id;
        private int _epoch;

        internal Session(ProtocolConnection connection, Uuid topicId, IEnumerable<int> partitions)
        {
            _connection = connection;
            _topicId = topicId;
            Offsets = partitions.ToDictionary(p => p, _ => 0L);
            _moved = [.. Offsets.Keys];
        }

        /// <summary>Where each partition is to be read next.</summary>
        internal Dictionary<int, long> Offsets { get; }

        internal void SkipTo(List<long> ends)
        {
            foreach (int partition in _moved) Offsets[partition] = ends[partition];
        }

        /// <summary>One fetch: the partitions that records came from.</summary>
        internal List<int> Next()
        {
            Ask();
            return Take();
        }

        internal void Ask()
        {
            var request = new FetchRequest
            {
                MaxWaitMs = _id == 0 ? 0 : MaxWaitMs,
                MinBytes = 1,
                MaxBytes = FetchBytes,
                SessionId = _id,
                SessionEpoch = _epoch,
                Topics = [new() { TopicId = _topicId, Partitions = _moved.ConvertAll(Position) }],
            };
            if (_moved.Count == 0) request.Topics.Clear();
            _connection.Send(ProtocolConnection.Frame(request, FetchVersion));
        }

        internal List<int> Take()
        {
            var answer = _connection.Receive<FetchResponse>(ApiKey.Fetch, FetchVersion);
            if (answer.ErrorCode != ErrorCode.None) throw new InvalidOperationException($"Fetch: {answer.ErrorCode}");
            if (_id == 0 && answer.SessionId == 0) throw new InvalidOperationException("Fetch: no session was given");
            _id = answer.SessionId;
            _epoch++;
            _moved.Clear();
            foreach (var data in answer.Responses.SelectMany(t => t.Partitions))
            {
                if (data.ErrorCode != ErrorCode.None) throw new InvalidOperationException($"Fetch: {data.ErrorCode}");
                long offset = Offsets[data.PartitionIndex];
                DirectDriver.Walk(data.Records ?? Records.Empty, ref offset);
                if (offset == Offsets[data.PartitionIndex]) continue;
                Offsets[data.PartitionIndex] = offset;
                _moved.Add(data.PartitionIndex);
            }

            return [.. _moved];
        }

        private FetchRequest.FetchPartition Position(int partition) => new()
        {
            Partition = partition,
            FetchOffset = Offsets[partition],
            PartitionMaxBytes = PartitionFetchBytes,
        };
    }
}
