using System.Text;
using Confluent.Kafka;

namespace KBroker.Client.Tests;

public sealed class HeaderTests
{
    private static readonly DateTimeOffset Instant = new(2027, 1, 15, 8, 0, 0, TimeSpan.FromHours(2));

    public static TheoryData<Delay, string, string> Delays => new()
    {
        { Delay.For(TimeSpan.FromSeconds(90)), "kbroker-delay-ms", "90000" },
        { TimeSpan.Zero, "kbroker-delay-ms", "0" },
        { TimeSpan.FromTicks(10_001), "kbroker-delay-ms", "2" },
        { Delay.Until(Instant), "kbroker-deliver-at", "1799992800000" },
        { Instant.AddTicks(1), "kbroker-deliver-at", "1799992800001" },
        { DateTimeOffset.UnixEpoch.AddTicks(-1), "kbroker-deliver-at", "0" },
        { Delay.Level(3), "kbroker-delay-level", "3" },
        { default, "kbroker-delay-ms", "0" },
    };

    [Theory]
    [MemberData(nameof(Delays))]
    public void A_delay_becomes_one_header_of_digits_never_early(Delay delay, string name, string value)
    {
        var header = Assert.Single(new Headers().SetDelay(delay));
        Assert.Equal((name, value), (header.Key, Encoding.ASCII.GetString(header.GetValueBytes())));
    }

    [Fact]
    public void What_is_set_last_counts_and_foreign_headers_stay()
    {
        var headers = new Headers { { "trace", [1] } };
        headers.SetDelayLevel(4).SetDeliverAt(Instant).SetDelay(TimeSpan.FromSeconds(1)).SetCancel(17);
        Assert.Equal(["trace=\u0001", "kbroker-cancel=17"], Texts(headers));
        Assert.Equal(["kbroker-delay-level=18"], Texts(new Headers().SetCancel(3).SetDelayLevel(18)));
    }

    [Fact]
    public void What_cannot_be_asked_for_is_refused_at_once()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => Delay.For(TimeSpan.FromTicks(-1)));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Headers().SetDelayLevel(-1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Headers().SetCancel(Offset.Unset));
        Assert.Throws<ArgumentNullException>(() => KBrokerHeaders.SetCancel(null!, 1));
    }

    [Fact]
    public void When_a_record_is_due_is_known_but_for_levels()
    {
        var timestamp = new Timestamp(5_000, TimestampType.CreateTime);
        Assert.Equal(DateTimeOffset.FromUnixTimeMilliseconds(6_500), Delay.For(TimeSpan.FromSeconds(1.5))
            .DueFrom(timestamp));
        Assert.Equal(Instant, Delay.Until(Instant).DueFrom(Timestamp.Default));
        Assert.Null(Delay.Level(2).DueFrom(timestamp));
        Assert.Null(Delay.For(TimeSpan.FromSeconds(1)).DueFrom(Timestamp.Default));
    }

    [Fact]
    public void The_origin_of_a_delivery_is_read()
    {
        Headers headers = [];
        Assert.False(headers.TryGetOrigin(out _));
        Assert.False(((Headers?)null).TryGetOrigin(out _));
        headers.Add("kbroker-origin-timestamp", "1700000000123"u8.ToArray());
        Assert.False(headers.TryGetOrigin(out _));
        headers.Add("kbroker-origin-offset", "4711"u8.ToArray());
        Assert.True(headers.TryGetOrigin(out var origin));
        Assert.Equal(
            new RecordOrigin(4711, new Timestamp(1_700_000_000_123, TimestampType.CreateTime)), origin);
        Assert.False(new Headers { { "kbroker-origin-offset", "x"u8.ToArray() } }.TryGetOrigin(out _));
        Assert.False(new Headers { { "kbroker-origin-offset", null } }.TryGetOrigin(out _));
    }

    private static IEnumerable<string> Texts(Headers headers) =>
        headers.Select(static h => $"{h.Key}={Encoding.ASCII.GetString(h.GetValueBytes())}");
}
