using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Tests.Brokers;
using KBroker.Server.Tests.Net;
using KBroker.Storage;

namespace KBroker.Server.Tests.LogDirs;

/// <summary>
/// Two log directories, a and b, of which b can be taken away and put back: a broker that runs keeps the files that it
/// has open and can create none there, as on a disk that dies.
/// </summary>
internal sealed class Disks : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("kbroker-disks-").FullName;

    public string A => Path.Combine(_folder, "a");

    public string B => Path.Combine(_folder, "b");

    private string Away => Path.Combine(_folder, "away");

    public Task<TestBroker> StartAsync(params (string Name, string Value)[] properties) => TestBroker.StartAsync(
        _folder, [("log.dirs", $"{A},{B}"), ("log.segment.bytes", "1048576"), .. properties]);

    /// <summary>Takes b away. A file stands in its place, in which nothing can be created.</summary>
    public void Break()
    {
        Directory.Move(B, Away);
        File.WriteAllText(B, "");
    }

    /// <summary>Puts b back as it was.</summary>
    public void Repair()
    {
        File.Delete(B);
        Directory.Move(Away, B);
    }

    /// <summary>A topic with two partitions in each directory, all of which the controller knows.</summary>
    public static async Task<TestTopic> CreateTopicAsync(TestBroker broker, ProtocolClient client, string name)
    {
        var topic = await TestTopic.CreateAsync(client, name, 4);
        await KnownAsync(broker);
        return topic;
    }

    /// <summary>Waits until the controller knows where everything lies.</summary>
    public static Task KnownAsync(TestBroker broker) => TestNetwork.Eventually(
        () => broker.State.Partitions.All.All(p => p.IsOffline
            || broker.State.Metadata.Image.Topics.FindPartition(p.TopicPartition.Topic, p.TopicPartition.Partition)?
                .DirectoryOf(TestBroker.NodeId) == p.Log.Directory.DirectoryId),
        "the controller knows the directory of every partition");

    /// <summary>The partitions of a topic that lie in a directory.</summary>
    public static List<int> PartitionsIn(TestBroker broker, string topic, string directory) =>
        [.. broker.State.Partitions.All
            .Where(p => p.TopicPartition.Topic == topic && p.Log.Directory.Path == directory)
            .Select(static p => p.TopicPartition.Partition).Order()];

    public static LogDirectory DirectoryOf(TestBroker broker, string path) =>
        broker.State.Logs.Directories.Single(d => d.Path == path);

    /// <summary>Produces until a new segment is needed, which cannot be created; the error comes back.</summary>
    public static async Task<ErrorCode> ProduceUntilRefusedAsync(TestTopic topic, int partition)
    {
        for (var i = 0; i < 10; i++)
        {
            var error = (await topic.ProduceAsync(
                Batches.Of($"late-{i}" + new string('x', 500_000)), partition: partition)).ErrorCode;
            if (error != ErrorCode.None)
                return error;
        }

        return ErrorCode.None;
    }

    public static async Task<MetadataResponse.MetadataResponseTopic> DescribeAsync(ProtocolClient client, string topic)
    {
        var response = await client.SendAsync<MetadataResponse>(
            new MetadataRequest { Topics = [new() { Name = topic }], AllowAutoTopicCreation = false });
        return Assert.Single(response.Topics);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);
}
