using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;

namespace KBroker.Throughput.Delays;

/// <summary>
/// Records with and without a request for delay, in batches of 100, built before they are sent. A value begins with
/// the instant when the record is due (epoch ms, big-endian), or was made.
/// </summary>
internal sealed class DelayLoad
{
    internal const int RecordsPerBatch = 100;
    private const short ProduceVersion = 13;
    private const int Connections = 2;
    private const int InFlight = 8;
    private readonly List<byte[]> _frames = [];

    /// <summary>Bytes of all requests.</summary>
    internal long Bytes => _frames.Sum(static frame => (long)frame.Length);

    internal int Records => _frames.Count * RecordsPerBatch;

    internal static long NowMs => TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();

    /// <summary>Builds batches for places in turns.</summary>
    /// <param name="places">The partitions.</param>
    /// <param name="records">How many in all.</param>
    /// <param name="recordBytes">Bytes of a value.</param>
    /// <param name="dueMs">When a record is due, by its number; null for a record without a request.</param>
    internal static DelayLoad Build(
        List<DelayTopics.Place> places, int records, int recordBytes, Func<int, long?> dueMs)
    {
        var load = new DelayLoad();
        using var builder = new RecordBatchBuilder(RecordBatchOptions.Default);
        var random = new Random(7);
        var value = new byte[Math.Max(sizeof(long), recordBytes)];
        random.NextBytes(value);
        for (int batch = 0; batch < records / RecordsPerBatch; batch++)
        {
            builder.Reset(RecordBatchOptions.Default);
            long now = NowMs;
            for (int i = 0; i < RecordsPerBatch; i++)
            {
                long? due = dueMs((batch * RecordsPerBatch) + i);
                BinaryPrimitives.WriteInt64BigEndian(value, due ?? now);
                builder.Append(now, null, (ReadOnlyMemory<byte>?)value, due is { } at ? At(at) : default);
            }

            load._frames.Add(Frame(places[batch % places.Count], builder.Build()));
        }

        return load;
    }

    /// <summary>A request of one batch, acks=1.</summary>
    internal static byte[] Frame(DelayTopics.Place place, ReadOnlyMemory<byte> batch) => ProtocolConnection.Frame(
        new ProduceRequest
        {
            Acks = 1,
            TimeoutMs = 30_000,
            TopicData =
            [
                new()
                {
                    TopicId = place.Topic.Id,
                    PartitionData = [new() { Index = place.Partition, Records = new Records(batch) }],
                },
            ],
        },
        ProduceVersion);

    /// <summary>The header that asks for a delivery at an instant.</summary>
    internal static RecordHeaders At(long dueMs) => RecordHeaders.Create(new RecordHeader(
        "kbroker-deliver-at", Encoding.ASCII.GetBytes(dueMs.ToString(CultureInfo.InvariantCulture))));

    /// <summary>Sends everything, and tells how far it is every two seconds.</summary>
    internal void Send(int port)
    {
        int answered = 0;
        var clock = Stopwatch.StartNew();
        long told = 0;
        DirectDriver.InThreads(Connections, index =>
        {
            using var connection = new ProtocolConnection(port);
            int waiting = 0;
            for (int i = index; i < _frames.Count; i += Connections)
            {
                connection.Send(_frames[i]);
                if (++waiting == InFlight) Receive(connection, ref waiting);
            }

            while (waiting > 0) Receive(connection, ref waiting);
        });

        void Receive(ProtocolConnection connection, ref int waiting)
        {
            Check(connection.Receive<ProduceResponse>(ApiKey.Produce, ProduceVersion));
            waiting--;
            int done = Interlocked.Increment(ref answered);
            long now = clock.ElapsedMilliseconds / 2000;
            long last = Volatile.Read(ref told);
            if (now > last && Interlocked.CompareExchange(ref told, now, last) == last)
                Console.Error.WriteLine($"    {done * RecordsPerBatch:N0} of {Records:N0} records written");
        }
    }

    internal static void Check(ProduceResponse answer)
    {
        var partition = answer.Responses[0].PartitionResponses[0];
        if (partition.ErrorCode != ErrorCode.None)
            throw new InvalidOperationException($"Produce: {partition.ErrorCode} {partition.ErrorMessage}");
    }
}
