using KBroker.Server.Fetch;
using KBroker.Server.Tests.Net;

namespace KBroker.Server.Tests.Fetch;

public sealed class FetchSessionCacheTests
{
    private static readonly TimeSpan Stale = TimeSpan.FromMilliseconds(FetchSessionCache.EvictionMs + 1);

    private readonly ManualTime _time = new();

    [Fact]
    public void Sessions_have_positive_ids_of_their_own_and_begin_with_epoch_1()
    {
        var cache = Cache(100);
        var ids = Enumerable.Range(0, 100).Select(_ => cache.TryCreate(true, false, 1)!).ToList();
        Assert.All(ids, session => Assert.True(session.Id > 0));
        Assert.Equal(100, ids.Select(static s => s.Id).Distinct().Count());
        Assert.All(ids, static session => Assert.Equal(1, session.NextEpoch));
    }

    [Fact]
    public void A_full_cache_makes_room_only_when_a_session_is_stale()
    {
        var cache = Cache(2);
        var first = cache.TryCreate(false, false, 1)!;
        var second = cache.TryCreate(false, false, 1)!;
        Assert.Null(cache.TryCreate(false, false, 1));
        _time.Advance(Stale);
        Assert.True(cache.TryGet(first.Id, out _));
        Assert.NotNull(cache.TryCreate(false, false, 1));
        Assert.True(cache.TryGet(first.Id, out _));
        Assert.False(cache.TryGet(second.Id, out _));
        Assert.Equal(2, cache.Count);
    }

    [Fact]
    public void A_larger_session_displaces_a_smaller_old_one_that_is_in_use()
    {
        var cache = Cache(1);
        var small = cache.TryCreate(false, false, 0)!;
        _time.Advance(Stale);
        Assert.True(cache.TryGet(small.Id, out _));
        Assert.Null(cache.TryCreate(false, false, 0));
        Assert.NotNull(cache.TryCreate(false, false, 1));
        Assert.False(cache.TryGet(small.Id, out _));
    }

    [Fact]
    public void A_follower_displaces_a_consumer_and_never_the_other_way_round()
    {
        var cache = Cache(1);
        var consumer = cache.TryCreate(false, isFollower: false, 5)!;
        _time.Advance(Stale);
        Assert.True(cache.TryGet(consumer.Id, out _));
        var follower = cache.TryCreate(false, isFollower: true, 0)!;
        Assert.False(cache.TryGet(consumer.Id, out _));
        _time.Advance(Stale);
        Assert.True(cache.TryGet(follower.Id, out _));
        Assert.Null(cache.TryCreate(false, isFollower: false, 100));
    }

    [Fact]
    public void A_cache_without_slots_never_makes_a_session()
    {
        Assert.Null(Cache(0).TryCreate(false, true, 1));
    }

    [Fact]
    public void Epochs_wrap_to_1()
    {
        var session = new FetchSession(1, false, false, 0);
        session.AdvanceEpoch();
        Assert.Equal(2, session.NextEpoch);
        typeof(FetchSession).GetProperty(nameof(FetchSession.NextEpoch))!.SetValue(session, int.MaxValue);
        session.AdvanceEpoch();
        Assert.Equal(1, session.NextEpoch);
    }

    private FetchSessionCache Cache(int slots) => new(slots, _time, new Random(4711));
}
