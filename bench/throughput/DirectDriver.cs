using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;

namespace KBroker.Throughput;

/// <summary>
/// Speaks the protocol itself. Produce sends frames that were built, checksum and all, before the clock starts; fetch
/// receives into one buffer and looks at batch headers only. One thread and one partition a connection.
/// </summary>
internal sealed class DirectDriver(Settings settings)
{
    private const short ProduceVersion = 13;
    private const short FetchVersion = 17;

    // Different frames in turn, so that neither side finds the same bytes in its cache each time.
    private const int FramesPerConnection = 16;

    private const int MaxWaitMs = 500;

    /// <summary>Frames for each connection, and what one of them holds.</summary>
    internal sealed record Load(byte[][][] Frames, int BatchBytes, int RecordsPerBatch);

    /// <summary>Builds the frames for a topic.</summary>
    internal Load Prepare(Uuid topicId, int recordBytes) =>
        Prepare(topicId, recordBytes, RecordBatchOptions.Default, RecordHeaders.Empty);

    /// <summary>Builds frames of batches with a codec and headers; what is to be compressed repeats itself.</summary>
    internal Load Prepare(Uuid topicId, int recordBytes, RecordBatchOptions options, RecordHeaders headers)
    {
        var frames = new byte[settings.Connections][][];
        int batchBytes = 0;
        int records = 0;
        using var builder = new RecordBatchBuilder(options, new CompressionCodecs());
        var random = new Random(7);
        var value = new byte[recordBytes];
        int most = RecordBatchBuilder.MaxRecordBytes(0, recordBytes, headers);
        var fresh = options.Compression == CompressionType.None ? value : value.AsMemory(0, (recordBytes + 1) / 2);
        for (int connection = 0; connection < frames.Length; connection++)
        {
            frames[connection] = new byte[FramesPerConnection][];
            for (int i = 0; i < FramesPerConnection; i++)
            {
                builder.Reset(options);
                long now = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();
                do
                {
                    random.NextBytes(fresh.Span);
                    builder.Append(now, null, value, headers);
                }
                while (builder.UncompressedBytes + most <= settings.BatchBytes);
                var batch = builder.Build();
                (batchBytes, records) = (batch.Length, builder.RecordsCount);
                frames[connection][i] = ProtocolConnection.Frame(Request(topicId, connection, batch), ProduceVersion);
            }
        }

        return new Load(frames, batchBytes, records);
    }

    /// <summary>Produces at least so many bytes of batches.</summary>
    /// <returns>The bytes of batches that were acknowledged.</returns>
    internal long Produce(int port, Load load, long bytes)
    {
        long batches = Math.Max(1, bytes / load.BatchBytes / load.Frames.Length);
        InThreads(load.Frames.Length, index =>
        {
            using var connection = new ProtocolConnection(port);
            long answered = settings.Acks == 0 ? batches : 0;
            for (long sent = 0; sent < batches || answered < batches;)
            {
                if (sent < batches && (settings.Acks == 0 || sent - answered < settings.InFlight))
                {
                    connection.Send(load.Frames[index][sent++ % FramesPerConnection]);
                    continue;
                }

                var answer = connection.Receive<ProduceResponse>(ApiKey.Produce, ProduceVersion);
                var partition = answer.Responses[0].PartitionResponses[0];
                if (partition.ErrorCode != ErrorCode.None)
                    throw new InvalidOperationException($"Produce: {partition.ErrorCode} {partition.ErrorMessage}");
                answered++;
            }
        });
        return batches * load.BatchBytes * load.Frames.Length;
    }

    /// <summary>Fetches every partition from its start.</summary>
    /// <param name="port">Of the broker.</param>
    /// <param name="topic">The topic.</param>
    /// <param name="bytes">The bytes of batches that the topic holds.</param>
    internal void Fetch(int port, Topic topic, long bytes)
    {
        InThreads(topic.Partitions, partition =>
        {
            using var connection = new ProtocolConnection(port, settings.FetchBytes + (64 * 1024));
            long offset = 0;
            for (long left = bytes / topic.Partitions; left > 0;)
            {
                connection.Send(ProtocolConnection.Frame(FetchRequestAt(topic.Id, partition, offset), FetchVersion));
                var answer = connection.Receive<FetchResponse>(ApiKey.Fetch, FetchVersion);
                if (answer.ErrorCode != ErrorCode.None)
                    throw new InvalidOperationException($"Fetch: {answer.ErrorCode}");
                var data = answer.Responses[0].Partitions[0];
                if (data.ErrorCode != ErrorCode.None) throw new InvalidOperationException($"Fetch: {data.ErrorCode}");
                left -= Walk(data.Records ?? Records.Empty, ref offset);
            }
        });
    }

    /// <summary>Fetches every partition up to an offset.</summary>
    internal void Fetch(int port, Topic topic, List<long> ends) => InThreads(topic.Partitions, partition =>
    {
        using var connection = new ProtocolConnection(port, settings.FetchBytes + (64 * 1024));
        for (long offset = 0; offset < ends[partition];)
        {
            connection.Send(ProtocolConnection.Frame(FetchRequestAt(topic.Id, partition, offset), FetchVersion));
            var data = connection.Receive<FetchResponse>(ApiKey.Fetch, FetchVersion).Responses[0].Partitions[0];
            if (data.ErrorCode != ErrorCode.None) throw new InvalidOperationException($"Fetch: {data.ErrorCode}");
            Walk(data.Records ?? Records.Empty, ref offset);
        }
    });

    internal static void InThreads(int count, Action<int> work)
    {
        var problems = new Exception?[count];
        var threads = Enumerable.Range(0, count).Select(index => new Thread(() =>
        {
            try
            {
                work(index);
            }
            catch (Exception problem)
            {
                problems[index] = problem;
            }
        })).ToList();
        threads.ForEach(thread => thread.Start());
        threads.ForEach(thread => thread.Join());
        if (problems.FirstOrDefault(problem => problem is not null) is { } first)
            throw new InvalidOperationException(first.Message, first);
    }

    // The last batch of an answer may be cut off: only whole ones count, and the next fetch begins behind them.
    internal static int Walk(Records records, ref long offset)
    {
        if (!records.TryGetBytes(out var bytes)) throw new InvalidDataException("received records are in memory");
        int whole = 0;
        while (RecordBatchHeader.TryParse(bytes.Slice(whole), out var header)
            && whole + header.SizeInBytes <= bytes.Length)
        {
            if (header.LastOffset < offset)
                throw new InvalidDataException($"offset {header.LastOffset} after {offset}");
            offset = header.NextOffset;
            whole += header.SizeInBytes;
        }

        return whole;
    }

    private ProduceRequest Request(Uuid topicId, int partition, ReadOnlyMemory<byte> batch) => new()
    {
        Acks = settings.Acks,
        TimeoutMs = 30_000,
        TopicData =
        [
            new() { TopicId = topicId, PartitionData = [new() { Index = partition, Records = new Records(batch) }] },
        ],
    };

    private FetchRequest FetchRequestAt(Uuid topicId, int partition, long offset) => new()
    {
        MaxWaitMs = MaxWaitMs,
        MinBytes = 1,
        MaxBytes = settings.FetchBytes,
        Topics =
        [
            new()
            {
                TopicId = topicId,
                Partitions =
                [
                    new() { Partition = partition, FetchOffset = offset, PartitionMaxBytes = settings.FetchBytes },
                ],
            },
        ],
    };
}
