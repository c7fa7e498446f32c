using KBroker.Protocol.Messages;

namespace KBroker.Protocol.Tests.Messages;

/// <summary>The table of APIs, made from the head lines of the specs.</summary>
public sealed class ApiCatalogTests
{
    [Fact]
    public void Every_api_of_the_specs_is_in_the_catalog_with_its_versions()
    {
        Assert.Equal(89, ApiCatalog.All.Count(static a => !a.IsPrivate));
        foreach (var info in ApiCatalog.All)
        {
            var request = Specs.All[info.Name + "Request"];
            Assert.Equal(request.Versions.Lowest, info.LowestVersion);
            Assert.Equal(request.Versions.Highest, info.HighestVersion);
            Assert.Equal(info.Name, info.Key.ToString());
            var response = (IApiMessage)Activator.CreateInstance(Specs.ClassOf(info.Name + "Response"))!;
            Assert.Equal(info.Key, response.ApiKey);
        }
    }

    [Fact]
    public void Produce_is_advertised_from_0_though_3_is_the_first_it_reads()
    {
        var produce = ApiCatalog.Get(ApiKey.Produce);
        Assert.Equal(0, produce.AdvertisedLowest);
        Assert.Equal(3, produce.LowestVersion);
        Assert.False(produce.Supports(2));
        Assert.All(ApiCatalog.All, a => Assert.True(a.AdvertisedLowest == a.LowestVersion || a.Key == ApiKey.Produce));
    }

    [Fact]
    public void Apis_of_our_own_have_keys_far_above_Kafkas_and_one_flexible_version() => Assert.All(
        ApiCatalog.All,
        static a =>
        {
            Assert.Equal(a.IsPrivate, (short)a.Key >= 20_000);
            if (a.IsPrivate)
                Assert.Equal((0, 0, 0), (a.LowestVersion, a.HighestVersion, a.FirstFlexibleVersion));
        });

    [Fact]
    public void Only_the_latest_InitProducerId_is_unstable() => Assert.Equal(
        [(ApiKey.InitProducerId, 5, 6)],
        ApiCatalog.All
            .Where(a => a.LatestStableVersion != a.HighestVersion)
            .Select(a => (a.Key, (int)a.LatestStableVersion, (int)a.HighestVersion)));

    [Fact]
    public void An_ApiVersions_response_has_header_0_even_when_flexible()
    {
        var info = ApiCatalog.Get(ApiKey.ApiVersions);
        Assert.Equal(2, info.RequestHeaderVersion(3));
        Assert.Equal(0, info.ResponseHeaderVersion(3));
        Assert.Equal(1, ApiCatalog.Get(ApiKey.Metadata).ResponseHeaderVersion(9));
        Assert.Equal(0, ApiCatalog.Get(ApiKey.Metadata).ResponseHeaderVersion(8));
    }

    [Fact]
    public void Removed_and_unknown_apis_are_not_found()
    {
        Assert.False(ApiCatalog.TryGet(ApiKey.LeaderAndIsr, out _));
        Assert.False(ApiCatalog.TryGet((ApiKey)(-1), out _));
        Assert.False(ApiCatalog.TryGet((ApiKey)short.MaxValue, out _));
        Assert.Throws<ProtocolException>(() =>
        {
            var reader = new ProtocolReader(ReadOnlyMemory<byte>.Empty);
            MessageReader.ReadRequest(ApiKey.LeaderAndIsr, 0, ref reader);
        });
    }

    [Fact]
    public void Listeners_say_where_an_api_is_served()
    {
        Assert.Equal(ApiListeners.Broker, ApiCatalog.Get(ApiKey.Produce).Listeners);
        Assert.Equal(ApiListeners.Controller, ApiCatalog.Get(ApiKey.Vote).Listeners);
        Assert.Equal(ApiListeners.Broker | ApiListeners.Controller, ApiCatalog.Get(ApiKey.Fetch).Listeners);
    }
}
