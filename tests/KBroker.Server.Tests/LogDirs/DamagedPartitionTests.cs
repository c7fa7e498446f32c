using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Tests.Brokers;

namespace KBroker.Server.Tests.LogDirs;

/// <summary>A partition whose files are damaged, as clients see it.</summary>
public sealed class DamagedPartitionTests : IDisposable
{
    private readonly Disks _disks = new();

    public void Dispose() => _disks.Dispose();

    [Fact]
    public async Task It_answers_storage_error_while_the_rest_of_its_directory_is_served()
    {
        TestTopic topic;
        string file;
        int damaged, good;
        await using (var broker = await _disks.StartAsync())
        {
            await using var client = await broker.ConnectAsync();
            topic = await Disks.CreateTopicAsync(broker, client, "t");
            var inA = Disks.PartitionsIn(broker, "t", _disks.A);
            (damaged, good) = (inA[0], inA[1]);
            for (var i = 0; i < 10; i++)
            {
                await topic.ProduceAsync(Batches.Of($"v{i}"), partition: damaged);
                await topic.ProduceAsync(Batches.Of($"w{i}"), partition: good);
            }

            file = Path.Combine(_disks.A, $"t-{damaged}", "00000000000000000000.log");
            await broker.StopAsync();
        }

        // The length of the first batch, below the recovery point of a clean stop.
        var bytes = await File.ReadAllBytesAsync(file, TestContext.Current.CancellationToken);
        bytes[8] = 0x7f;
        await File.WriteAllBytesAsync(file, bytes, TestContext.Current.CancellationToken);
        await using (var broker = await _disks.StartAsync())
        {
            await using var client = await broker.ConnectAsync();
            topic = new TestTopic(client, "t", topic.Id);
            await FailedDirectoryTests.EveryApiSaysStorageErrorAsync(client, topic, damaged, isKnown: false);
            Assert.Contains(file, (await topic.ProduceAsync(Batches.Of("v"), partition: damaged)).ErrorMessage);
            Assert.Contains(broker.Log.Errors, e => e.Contains($"t-{damaged} is not served", StringComparison.Ordinal));

            Assert.Equal(10, (await topic.ProduceAsync(Batches.Of("more"), partition: good)).BaseOffset);
            Assert.Equal(["w9", "more"], Batches.Values((await topic.FetchAsync(9, partition: good)).Records));
            Assert.False(Disks.DirectoryOf(broker, _disks.A).IsOffline);
            Assert.Equal(bytes, await File.ReadAllBytesAsync(file, TestContext.Current.CancellationToken));

            var deleted = await client.SendAsync<DeleteTopicsResponse>(
                new DeleteTopicsRequest { Topics = [new() { Name = "t" }] });
            Assert.Equal(ErrorCode.None, Assert.Single(deleted.Responses).ErrorCode);
            Assert.False(File.Exists(file));
            var anew = await TestTopic.CreateAsync(client, "t", 4);
            Assert.Equal(0, (await anew.ProduceAsync(Batches.Of("new"), partition: damaged)).BaseOffset);
        }
    }
}
