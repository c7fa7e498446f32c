using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Tests.Brokers;

namespace KBroker.Server.Tests.Handlers;

/// <summary>The feature <c>transaction.version</c>: what clients are told, and transactions at each of its
/// levels.</summary>
public sealed class TransactionVersionTests
{
    [Fact]
    public async Task The_version_goes_down_and_up_with_open_ids_and_survives_restarts()
    {
        var folder = Directory.CreateTempSubdirectory("kbroker-broker-").FullName;
        try
        {
            Uuid topicId;
            await using (var broker = await TestBroker.StartAsync(folder))
            await using (var client = await broker.ConnectAsync())
            {
                var topic = await TestTopic.CreateAsync(client, "orders", 1, ("retention.ms", "-1"));
                topicId = topic.Id;
                Assert.Equal((0, 2, 2), await LevelsAsync(client));
                await RunAsync(await TestProducer.CreateAsync(client, "t"), topic, isClassic: false);
                Assert.Equal(ErrorCode.InvalidUpdateVersion, await UpdateAsync(client, 3, upgradeType: 1));
                Assert.Equal(ErrorCode.InvalidUpdateVersion, await UpdateAsync(client, 1, upgradeType: 1));
                Assert.Equal(ErrorCode.None, await UpdateAsync(client, 1, upgradeType: 2));
                Assert.Equal((0, 2, 1), await LevelsAsync(client));
                await RunAsync(await TestProducer.CreateAsync(client, "t"), topic, isClassic: true);
                Assert.Equal(ErrorCode.None, await UpdateAsync(client, 0, upgradeType: 2));
                Assert.Equal((0, 2, 0), await LevelsAsync(client));
                await RunAsync(await TestProducer.CreateAsync(client, "t"), topic, isClassic: true);
                Assert.Empty(broker.Log.Errors);
            }

            await using (var broker = await TestBroker.StartAsync(folder))
            await using (var client = await broker.ConnectAsync())
            {
                var topic = new TestTopic(client, "orders", topicId);
                Assert.Equal((0, 2, 0), await LevelsAsync(client));
                var classic = await TestProducer.CreateAsync(client, "t");
                await RunAsync(classic, topic, isClassic: true);
                // Clients see it, and change the protocol between two transactions.
                Assert.Equal(ErrorCode.None, await UpdateAsync(client, 2, upgradeType: 1));
                Assert.Equal((0, 2, 2), await LevelsAsync(client));
                var epoch = classic.Epoch;
                await RunAsync(classic, topic, isClassic: false);
                Assert.Equal(epoch + 1, classic.Epoch);
                // A start may have written a marker once more, so the offset itself says nothing.
                await Until.True(async () =>
                {
                    var data = await topic.FetchAsync(0);
                    return data.LastStableOffset == data.HighWatermark;
                });
                Assert.Empty(broker.Log.Errors);
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task RunAsync(TestProducer producer, TestTopic topic, bool isClassic)
    {
        if (isClassic)
            Assert.Equal(ErrorCode.None, await producer.AddAsync(topic, 0));
        Assert.Equal(ErrorCode.None, (await producer.ProduceAsync(topic, 0, isClassic, "v")).ErrorCode);
        Assert.Equal(ErrorCode.None, await producer.EndAsync(true, isClassic));
    }

    /// <summary>The least and most that the broker supports, and what is in force.</summary>
    private static async Task<(int Least, int Most, int Finalized)> LevelsAsync(ProtocolClient client)
    {
        var answer = await client.SendAsync<ApiVersionsResponse>(
            new ApiVersionsRequest { ClientSoftwareName = "test", ClientSoftwareVersion = "1" });
        var supported = Assert.Single(answer.SupportedFeatures, static f => f.Name == "transaction.version");
        var level = answer.FinalizedFeatures.Find(static f => f.Name == "transaction.version")?.MaxVersionLevel ?? 0;
        return (supported.MinVersion, supported.MaxVersion, level);
    }

    private static async Task<ErrorCode> UpdateAsync(ProtocolClient client, short level, sbyte upgradeType)
    {
        var answer = await client.SendAsync<UpdateFeaturesResponse>(new UpdateFeaturesRequest
        {
            TimeoutMs = 30_000,
            FeatureUpdates =
            [
                new() { Feature = "transaction.version", MaxVersionLevel = level, UpgradeType = upgradeType },
            ],
        });
        return answer.ErrorCode != ErrorCode.None || answer.Results.Count == 0
            ? answer.ErrorCode
            : answer.Results[0].ErrorCode;
    }
}
