using System.Diagnostics;
using System.Text;
using Confluent.Kafka;
using KBroker.Compat.Harness;

namespace KBroker.Compat.Confluent.Tests;

[CollectionDefinition(Name)]
public sealed class OneBroker : ICollectionFixture<ConfluentFixture>
{
    public const string Name = "one broker";
}

/// <summary>Clients as the tests want them; on failure the end of the broker's log goes to the test's output.</summary>
[Collection(OneBroker.Name)]
public abstract class ConfluentTest : IDisposable
{
    private protected static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    protected ConfluentTest(ConfluentFixture fixture)
    {
        Assert.SkipWhen(fixture.SkipReason is not null, fixture.SkipReason ?? "");
        Fixture = fixture;
    }

    private protected ConfluentFixture Fixture { get; }

    public void Dispose()
    {
        if (TestContext.Current.TestState?.Result == TestResult.Failed)
            TestContext.Current.TestOutputHelper?.WriteLine("end of the broker's log:\n" + Fixture.Broker.LogTail);
        GC.SuppressFinalize(this);
    }

    private protected IProducer<byte[]?, byte[]?> Producer(Action<ProducerConfig>? configure = null)
    {
        var config = new ProducerConfig
        {
            BootstrapServers = Fixture.Broker.Bootstrap,
            LingerMs = 5,
            MessageTimeoutMs = 60000,
        };
        configure?.Invoke(config);
        return new ProducerBuilder<byte[]?, byte[]?>(config).SetLogHandler((_, _) => { }).Build();
    }

    private protected IConsumer<byte[]?, byte[]?> Consumer(Action<ConsumerConfig>? configure = null)
    {
        var config = new ConsumerConfig
        {
            BootstrapServers = Fixture.Broker.Bootstrap,
            GroupId = "never-joined",
            EnableAutoCommit = false,
            EnableAutoOffsetStore = false,
            AutoOffsetReset = AutoOffsetReset.Error,
            EnablePartitionEof = false,
            FetchWaitMaxMs = 100,
        };
        configure?.Invoke(config);
        return new ConsumerBuilder<byte[]?, byte[]?>(config).SetLogHandler((_, _) => { }).Build();
    }

    /// <summary>Exactly <paramref name="count"/> records of one partition, by assignment.</summary>
    private protected List<ConsumeResult<byte[]?, byte[]?>> Fetch(
        string topic, int count, int partition = 0, long offset = 0)
    {
        using var consumer = Consumer();
        consumer.Assign(new TopicPartitionOffset(topic, partition, offset));
        var records = Take(consumer, count);
        consumer.Close();
        return records;
    }

    private protected static List<ConsumeResult<byte[]?, byte[]?>> Take(IConsumer<byte[]?, byte[]?> consumer, int count)
    {
        var records = new List<ConsumeResult<byte[]?, byte[]?>>(count);
        while (records.Count < count)
            records.Add(consumer.Consume(Limit) ?? throw new TimeoutException($"{records.Count} records of {count}"));
        return records;
    }

    private protected static Message<byte[]?, byte[]?> Message(string? value, string? key = null) =>
        new() { Key = Bytes(key), Value = Bytes(value) };

    private protected static byte[]? Bytes(string? text) => text is null ? null : Encoding.UTF8.GetBytes(text);

    private protected static string? Text(byte[]? bytes) => bytes is null ? null : Encoding.UTF8.GetString(bytes);

    /// <summary>Runs a command of the real executable.</summary>
    /// <returns>Exit code, and what it wrote to its two output streams, one behind the other.</returns>
    private protected static async Task<(int ExitCode, string Output)> KBrokerAsync(params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(CompatEnvironment.KBrokerExecutable, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        var errors = process.StandardError.ReadToEndAsync();
        var output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return (process.ExitCode, output + await errors);
    }

    /// <summary>Produces values one after the other into one partition and waits for all of them.</summary>
    private protected void Produce(
        string topic, IEnumerable<string> values, int partition = 0, Action<ProducerConfig>? configure = null)
    {
        using var producer = Producer(configure);
        var failures = new List<Error>();
        foreach (var value in values)
            producer.Produce(new TopicPartition(topic, partition), Message(value), report =>
            {
                if (report.Error.IsError)
                    failures.Add(report.Error);
            });
        Assert.Equal(0, producer.Flush(Limit));
        Assert.Empty(failures);
    }
}
