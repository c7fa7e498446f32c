using System.Globalization;
using Confluent.Kafka;
using KBroker.Compat.Confluent.Tests.Transactions;
using KBroker.Compat.Harness;

namespace KBroker.Compat.Confluent.Tests.Delays;

/// <summary>
/// Logs with records that stay hidden, read in a group: what is visible comes in order, the position passes the rest.
/// And delays: once, not before the instant, never when cancelled. See compat-tests/delays for the other clients.
/// </summary>
public sealed class HiddenRecordsTests(ConfluentFixture fixture) : TransactionTest(fixture)
{
    private const string Hidden = "hidden";
    private const string Hour = "3600000";

    /// <summary>What of a case is visible, by offset, and where its log ends.</summary>
    private sealed class Case(string topic)
    {
        public string Topic { get; } = topic;

        public List<long> Offsets { get; } = [];

        public long End { get; private set; }

        public void Add(IEnumerable<bool> isVisible, bool isSeen = true)
        {
            foreach (var visible in isVisible)
            {
                if (visible && isSeen)
                    Offsets.Add(End);
                End++;
            }
        }

        public void AddMarker() => End++;
    }

    public static TheoryData<CompressionType, IsolationLevel> CodecsAndIsolations
    {
        get
        {
            var data = new TheoryData<CompressionType, IsolationLevel>();
            foreach (var codec in Enum.GetValues<CompressionType>())
                foreach (var isolation in Enum.GetValues<IsolationLevel>())
                    data.Add(codec, isolation);
            return data;
        }
    }

    [Theory]
    [MemberData(nameof(CodecsAndIsolations))]
    public async Task The_third_of_five_is_hidden(CompressionType codec, IsolationLevel isolation)
    {
        var at = await CaseAsync();
        Batch(at, codec, true, true, false, true, true);
        ReadsAll(at, isolation);
    }

    [Theory]
    [InlineData(IsolationLevel.ReadCommitted)]
    [InlineData(IsolationLevel.ReadUncommitted)]
    public async Task Hidden_batches_at_the_head_between_and_at_the_tail_are_passed_by(IsolationLevel isolation)
    {
        var at = await CaseAsync();
        Batch(at, CompressionType.None, All(false, 20));
        Batch(at, CompressionType.Zstd, true, true);
        Batch(at, CompressionType.Gzip, All(false, 100));
        Batch(at, CompressionType.None, false, true, false);
        for (var i = 0; i < 5; i++)
            Batch(at, CompressionType.Lz4, All(false, 60));
        ReadsAll(at, isolation);
    }

    [Theory]
    [InlineData(IsolationLevel.ReadCommitted)]
    [InlineData(IsolationLevel.ReadUncommitted)]
    public async Task Where_all_is_hidden_the_position_still_reaches_the_end(IsolationLevel isolation)
    {
        var at = await CaseAsync();
        Batch(at, CompressionType.None, All(false, 10));
        Batch(at, CompressionType.Snappy, All(false, 200));
        ReadsAll(at, isolation);
    }

    [Theory]
    [InlineData(IsolationLevel.ReadCommitted)]
    [InlineData(IsolationLevel.ReadUncommitted)]
    public async Task Hidden_records_in_transactions_are_passed_by_whatever_their_outcome(IsolationLevel isolation)
    {
        var at = await CaseAsync();
        using (var producer = Transactional(NewId()))
        {
            foreach (var isCommitted in (bool[])[true, false, true])
            {
                bool[] visible = [true, false, true, false];
                producer.BeginTransaction();
                Send(producer, at.Topic, visible, at.End);
                at.Add(visible, isCommitted || isolation is IsolationLevel.ReadUncommitted);
                at.AddMarker();
                if (isCommitted)
                    producer.CommitTransaction(Limit);
                else
                    producer.AbortTransaction(Limit);
                await Poll.UntilAsync("the marker is there", async () => await EndsAsync(at.Topic) == (at.End, at.End));
            }
        }

        Batch(at, CompressionType.None, false);
        ReadsAll(at, isolation);
    }

    [Fact]
    public async Task A_delayed_record_comes_once_at_its_instant_and_a_cancelled_one_never()
    {
        var topic = (await CaseAsync()).Topic;
        using var consumer = GroupReader(topic, IsolationLevel.ReadCommitted);
        using var producer = Producer();
        (string Value, string Header, string Text)[] sent =
            [("soon", "kbroker-delay-ms", "1000"), ("cancelled", "kbroker-delay-ms", "4000"),
                ("command", "kbroker-cancel", "1"), ("last", "kbroker-delay-ms", "5000")];
        foreach (var (value, header, text) in sent)
            await producer.ProduceAsync(topic, With(value, header, text));
        var records = new List<ConsumeResult<byte[]?, byte[]?>>();
        while (records.Count < 2)
            records.AddRange(Take(consumer, 1).Where(static r => !r.IsPartitionEOF));
        Assert.Equal(["soon", "last"], records.Select(static r => Text(r.Message.Value)));
        Assert.Equal([4, 5], records.Select(static r => r.Offset.Value));
        foreach (var (record, origin, delay) in records.Zip([0, 3], [1000, 5000]))
        {
            Assert.Equal(origin, Number(record, "kbroker-origin-offset"));
            var due = Number(record, "kbroker-origin-timestamp") + delay;
            Assert.True(record.Message.Timestamp.UnixTimestampMs >= due, "delivered before its instant");
            Assert.Equal(2, record.Message.Headers.Count);
        }

        // Nothing else was delivered.
        Assert.Equal((6, 6), await EndsAsync(topic));
        consumer.Close();
    }

    /// <summary>
    /// Reads a case from the beginning to its end, commits the end that the client tells, and gets a record that comes
    /// later.
    /// </summary>
    private void ReadsAll(Case at, IsolationLevel isolation)
    {
        using var consumer = GroupReader(at.Topic, isolation);
        var offsets = new List<long>();
        var result = Next();
        for (; !result.IsPartitionEOF; result = Next())
        {
            Assert.Equal(Name(result.Offset), Text(result.Message.Value));
            offsets.Add(result.Offset);
        }

        // The client tells an end each time that it gets there; the filler may come after a first one.
        while (result.Offset < at.End)
        {
            result = Next();
            Assert.True(result.IsPartitionEOF, "a record behind the last visible one");
        }

        Assert.Equal(at.Offsets, offsets);
        Assert.Equal(at.End, result.Offset.Value);
        consumer.Commit([result.TopicPartitionOffset]);
        Assert.Equal(at.End, Assert.Single(consumer.Committed([result.TopicPartition], Limit)).Offset.Value);
        Assert.Equal(at.End, consumer.QueryWatermarkOffsets(result.TopicPartition, Limit).High.Value);

        Produce(at.Topic, ["late"]);
        while ((result = Next()).IsPartitionEOF)
        {
        }

        Assert.Equal((at.End, "late"), (result.Offset.Value, Text(result.Message.Value)));
        consumer.Commit(result);
        Assert.Equal(at.End + 1, Assert.Single(consumer.Committed([result.TopicPartition], Limit)).Offset.Value);
        consumer.Close();

        ConsumeResult<byte[]?, byte[]?> Next() => consumer.Consume(Limit) ?? throw new TimeoutException("nothing came");
    }

    private IConsumer<byte[]?, byte[]?> GroupReader(string topic, IsolationLevel isolation)
    {
        var consumer = Consumer(c =>
        {
            c.GroupId = $"group-{Guid.NewGuid():N}";
            c.AutoOffsetReset = AutoOffsetReset.Earliest;
            c.IsolationLevel = isolation;
            c.EnablePartitionEof = true;
        });
        consumer.Subscribe(topic);
        return consumer;
    }

    private async Task<Case> CaseAsync() => new(await Fixture.CreateTopicAsync(1, ("kbroker.delay.enable", "true")));

    /// <summary>Writes one batch: librdkafka makes one of what lingers together, and sends it on the flush.</summary>
    private void Batch(Case at, CompressionType codec, params bool[] isVisible)
    {
        using var producer = Producer(c =>
        {
            c.CompressionType = codec;
            c.LingerMs = 10_000;
        });
        Send(producer, at.Topic, isVisible, at.End);
        at.Add(isVisible);
    }

    private static void Send(
        IProducer<byte[]?, byte[]?> producer, string topic, bool[] isVisible, long first)
    {
        var errors = new List<Error>();
        var offset = first;
        foreach (var visible in isVisible)
        {
            var message = visible ? Message(Name(offset)) : With(Hidden, "kbroker-delay-ms", Hour);
            producer.Produce(new TopicPartition(topic, 0), message, report =>
            {
                if (report.Error.IsError)
                    errors.Add(report.Error);
            });
            offset++;
        }

        Assert.Equal(0, producer.Flush(Limit));
        Assert.Empty(errors);
    }

    private static string Name(long offset) => string.Create(CultureInfo.InvariantCulture, $"visible {offset}");

    private static bool[] All(bool isVisible, int count) => [.. Enumerable.Repeat(isVisible, count)];

    private static Message<byte[]?, byte[]?> With(string value, string header, string text) =>
        new() { Value = Bytes(value), Headers = new Headers { { header, Bytes(text) } } };

    private static long Number(ConsumeResult<byte[]?, byte[]?> record, string header) => long.Parse(
        Text(record.Message.Headers.GetLastBytes(header)) ?? "", CultureInfo.InvariantCulture);
}
