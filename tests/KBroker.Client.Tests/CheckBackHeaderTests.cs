using System.Text;
using Confluent.Kafka;
using KBroker.Client.CheckBack;

namespace KBroker.Client.Tests;

/// <summary>The headers of check-back, and configurations that are none for it.</summary>
public sealed class CheckBackHeaderTests
{
    [Fact]
    public void A_half_message_keeps_its_delay_and_its_own_headers()
    {
        var headers = new Headers { { "app", "x"u8.ToArray() } }
            .SetDelay(TimeSpan.FromSeconds(1))
            .SetDecision(5, LocalTransactionState.Commit)
            .SetHalf("pay", TimeSpan.FromSeconds(2));
        Assert.Equal(
            ["app=x", "kbroker-delay-ms=1000", "kbroker-txn=prepare", "kbroker-producer-group=pay",
                "kbroker-check-after-ms=2000"],
            Text(headers));
    }

    [Theory]
    [InlineData(LocalTransactionState.Commit, "commit")]
    [InlineData(LocalTransactionState.Rollback, "rollback")]
    public void A_decision_names_the_half_message(LocalTransactionState decision, string text)
    {
        Assert.Equal(
            [$"kbroker-txn={text}", "kbroker-ref=4711", "kbroker-producer-group=pay"],
            Text(new Headers().SetHalf("other").SetDecision(4711, decision, "pay")));
        Assert.Equal([$"kbroker-txn={text}", "kbroker-ref=0"], Text(new Headers().SetDecision(0, decision)));
    }

    [Fact]
    public void What_decides_nothing_is_no_decision()
    {
        var headers = new Headers();
        Assert.Throws<ArgumentOutOfRangeException>(() => headers.SetDecision(1, LocalTransactionState.Unknown));
        Assert.Throws<ArgumentOutOfRangeException>(
            () => headers.SetDecision(Offset.Unset, LocalTransactionState.Commit));
        Assert.Throws<ArgumentOutOfRangeException>(() => headers.SetHalf("pay", TimeSpan.FromTicks(-1)));
        Assert.Empty(headers);
    }

    [Fact]
    public void A_check_tells_of_which_half_message_it_is_a_copy()
    {
        var headers = new Headers
        {
            { "kbroker-origin-topic", "orders"u8.ToArray() },
            { "kbroker-origin-partition", "3"u8.ToArray() },
            { "kbroker-origin-offset", "4711"u8.ToArray() },
            { "kbroker-origin-timestamp", "1799999990000"u8.ToArray() },
        };
        Assert.False(headers.TryGetHalf(out _));
        headers.Add("kbroker-half-checks", "2"u8.ToArray());
        Assert.True(headers.TryGetHalf(out var half));
        Assert.Equal(
            new HalfMessage(
                new TopicPartitionOffset("orders", 3, 4711),
                new Timestamp(1799999990000, TimestampType.CreateTime),
                2),
            half);
    }

    [Theory]
    [InlineData("transactional.id", "t")]
    [InlineData("acks", "0")]
    [InlineData("dotnet.producer.enable.delivery.reports", "false")]
    public void Configurations_by_which_no_half_message_can_be_sent_are_refused(string key, string value)
    {
        var config = new ProducerConfig();
        config.Set(key, value);
        Assert.Throws<ArgumentException>(() => new CheckBackProducer<string, string>(
            new CheckBackOptions<string, string>
            {
                Config = config,
                ProducerGroup = "pay",
                ExecuteLocalTransaction = static (_, _, _) => Task.FromResult(LocalTransactionState.Commit),
                CheckLocalTransaction = static (_, _, _) => Task.FromResult(LocalTransactionState.Commit),
            }));
    }

    private static string[] Text(Headers headers) =>
        [.. headers.Select(static h => $"{h.Key}={Encoding.UTF8.GetString(h.GetValueBytes())}")];
}
