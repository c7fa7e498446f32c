using System.Runtime.InteropServices;
using Confluent.Kafka;
using Confluent.Kafka.Admin;
using KBroker.Compat.Confluent.Tests.Groups;
using KBroker.Compat.Confluent.Tests.Transactions;
using KBroker.Compat.Harness;
using KBroker.Storm.Members;

namespace KBroker.Compat.Confluent.Tests;

/// <summary>The broker process and the admin client that all tests of the assembly share, one test at a time.</summary>
public sealed class ConfluentFixture : IAsyncLifetime
{
    private int _topics;
    private BrokerProcess? _broker;
    private IAdminClient? _admin;

    /// <summary>Why the tests cannot run on this machine; null when they can.</summary>
    public string? SkipReason { get; private set; }

    public BrokerProcess Broker => _broker ?? throw new InvalidOperationException(SkipReason);

    public IAdminClient Admin => _admin ?? throw new InvalidOperationException(SkipReason);

    public async ValueTask InitializeAsync()
    {
        SkipReason = CompatEnvironment.WhyNoBroker ?? WhyNoClient();
        if (SkipReason is not null)
            return;
        _broker = await BrokerProcess.StartAsync(
            ["auto.create.topics.enable=false", .. GroupTest.QuickGroups, .. TransactionTest.QuickTransactions]);
        _admin = new AdminClientBuilder(new AdminClientConfig { BootstrapServers = _broker.Bootstrap })
            .SetLogHandler((_, _) => { }).Build();
        // Now the coordinator is ready; an admin client that meets it before may crash (FINDINGS.md).
        GroupOffsets.Committed(_broker.Bootstrap, "first", "none", 1);
    }

    public async ValueTask DisposeAsync()
    {
        _admin?.Dispose();
        if (_broker is not null)
            await _broker.DisposeAsync();
    }

    /// <summary>Creates a topic with a name no other test has, and waits until clients see its leaders.</summary>
    public async Task<string> CreateTopicAsync(int partitions = 1, params (string Name, string Value)[] configs)
    {
        var topic = NewName();
        await Admin.CreateTopicsAsync(
        [
            new TopicSpecification
            {
                Name = topic,
                NumPartitions = partitions,
                ReplicationFactor = 1,
                Configs = configs.ToDictionary(c => c.Name, c => c.Value),
            },
        ]);
        // Metadata may name the leader before the leader itself knows; a producer would then retry, and might reorder.
        await Poll.UntilAsync($"{topic} has its leaders", () => AllPartitionsAnswerAsync(topic, partitions));
        return topic;
    }

    public string NewName() => $"topic-{Interlocked.Increment(ref _topics)}";

    private async Task<bool> AllPartitionsAnswerAsync(string topic, int partitions)
    {
        var asked = Enumerable.Range(0, partitions)
            .Select(p => new TopicPartition(topic, p))
            .Select(p => new TopicPartitionOffsetSpec { TopicPartition = p, OffsetSpec = OffsetSpec.Latest() });
        try
        {
            // The client asks the leader that it has cached; this makes it look again.
            Admin.GetMetadata(topic, TimeSpan.FromSeconds(10));
            await Admin.ListOffsetsAsync(asked);
            return true;
        }
        catch (KafkaException)
        {
            return false;
        }
    }

    private static string? WhyNoClient()
    {
        try
        {
            // Library.Load(path) looks for a libdl.so that newer glibc does not have; the resolver gets there without.
            if (CompatEnvironment.LibrdkafkaPath is { } path)
                NativeLibrary.SetDllImportResolver(typeof(Library).Assembly, (name, _, _) =>
                    name == "librdkafka" ? NativeLibrary.Load(path) : 0);
            Librdkafka.Resolve(clientToo: false);
            Library.Load();
            return null;
        }
        catch (Exception e) when (e is DllNotFoundException or InvalidOperationException or FileNotFoundException)
        {
            return "no librdkafka on this machine (compat-tests/install builds it): " + e.Message.Split('\n')[0];
        }
    }
}
