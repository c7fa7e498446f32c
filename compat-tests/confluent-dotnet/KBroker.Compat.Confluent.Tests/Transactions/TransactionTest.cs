using System.Globalization;
using Confluent.Kafka;
using Confluent.Kafka.Admin;
using KBroker.Compat.Harness;

namespace KBroker.Compat.Confluent.Tests.Transactions;

/// <summary>Transactional producers, and what readers of either isolation level see of what they wrote.</summary>
public abstract class TransactionTest(ConfluentFixture fixture) : ConfluentTest(fixture)
{
    /// <summary>A coordinator that looks for transactions out of time often.</summary>
    internal static string[] QuickTransactions => ["transaction.abort.timed.out.transaction.cleanup.interval.ms=200"];

    /// <summary>A transactional id that no other test has.</summary>
    private protected static string NewId() => $"txn-{Guid.NewGuid():N}";

    /// <summary>A producer that has initialized: the only one of its id, until the next.</summary>
    private protected IProducer<byte[]?, byte[]?> Transactional(string id, Action<ProducerConfig>? configure = null)
    {
        var producer = Producer(c =>
        {
            c.TransactionalId = id;
            c.TransactionTimeoutMs = 60_000;
            configure?.Invoke(c);
        });
        try
        {
            producer.InitTransactions(Limit);
            return producer;
        }
        catch
        {
            producer.Dispose();
            throw;
        }
    }

    /// <summary>Sends values to a partition and waits until the broker has them: the transaction is open there.</summary>
    private protected static void Send(
        IProducer<byte[]?, byte[]?> producer, string topic, int partition, params string[] values)
    {
        var errors = new List<Error>();
        foreach (var value in values)
            producer.Produce(new TopicPartition(topic, partition), Message(value), report =>
            {
                if (report.Error.IsError)
                    errors.Add(report.Error);
            });
        Assert.Equal(0, producer.Flush(Limit));
        Assert.Empty(errors);
    }

    /// <summary>
    /// What a reader sees of a partition up to the end that its isolation level allows: with read_committed to the last
    /// stable offset, else to the high watermark.
    /// </summary>
    private protected List<string?> Read(
        string topic, int partition, IsolationLevel isolation, string? bootstrap = null)
    {
        using var consumer = Consumer(c =>
        {
            c.BootstrapServers = bootstrap ?? c.BootstrapServers;
            c.IsolationLevel = isolation;
            c.EnablePartitionEof = true;
            c.FetchWaitMaxMs = 20;
        });
        consumer.Assign(new TopicPartitionOffset(topic, partition, 0));
        var values = new List<string?>();
        while (true)
        {
            var record = consumer.Consume(Limit) ?? throw new TimeoutException($"no end after {values.Count} records");
            if (record.IsPartitionEOF)
                return values;
            values.Add(Text(record.Message.Value));
        }
    }

    private protected List<string?> Committed(string topic, int partition = 0) =>
        Read(topic, partition, IsolationLevel.ReadCommitted);

    /// <summary>
    /// What is committed once no transaction is open: CommitTransaction returns when the outcome is certain, and the
    /// markers come soon after.
    /// </summary>
    private protected async Task<List<string?>> SettledAsync(string topic, int partition = 0)
    {
        await Poll.UntilAsync($"no open transaction in {topic}-{partition}", async () =>
            await EndsAsync(topic, partition) is var (end, stable) && end == stable);
        return Committed(topic, partition);
    }

    private protected List<string?> Everything(string topic, int partition = 0) =>
        Read(topic, partition, IsolationLevel.ReadUncommitted);

    /// <summary>The end of a partition: the last stable offset, or with read_uncommitted the high watermark.</summary>
    private protected async Task<long> EndAsync(string topic, int partition, IsolationLevel isolation)
    {
        var asked = new TopicPartitionOffsetSpec
        {
            TopicPartition = new(topic, partition),
            OffsetSpec = OffsetSpec.Latest(),
        };
        var found = await Fixture.Admin.ListOffsetsAsync([asked], new ListOffsetsOptions { IsolationLevel = isolation });
        return Assert.Single(found.ResultInfos).TopicPartitionOffsetError.Offset.Value;
    }

    /// <summary>The high watermark and the last stable offset.</summary>
    private protected async Task<(long End, long Stable)> EndsAsync(string topic, int partition = 0) =>
        (await EndAsync(topic, partition, IsolationLevel.ReadUncommitted),
            await EndAsync(topic, partition, IsolationLevel.ReadCommitted));

    private protected static string[] Numbers(int from, int count) =>
        [.. Enumerable.Range(from, count).Select(static i => i.ToString(CultureInfo.InvariantCulture))];
}
