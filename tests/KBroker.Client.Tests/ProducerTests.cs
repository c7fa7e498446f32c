using System.Reflection;
using System.Text;
using Confluent.Kafka;

namespace KBroker.Client.Tests;

/// <summary>What a producer is given; the way to a broker and back is tested with a real one (compat-tests).</summary>
public sealed class ProducerTests
{
    [Fact]
    public async Task A_delayed_message_is_a_copy_with_a_header_and_the_callers_stays_as_it_is()
    {
        var producer = FakeProducer.Create(new Timestamp(10_000, TimestampType.CreateTime), 42);
        var message = new Message<string, string>
        {
            Key = "k",
            Value = "v",
            Timestamp = new Timestamp(7, TimestampType.CreateTime),
            Headers = new Headers { { "trace", "1"u8.ToArray() } },
        };
        var record = await producer.ProduceDelayedAsync("orders", message, TimeSpan.FromSeconds(2));
        var (target, sent) = Assert.Single(((FakeProducer)producer).Sent);
        Assert.Equal(new TopicPartition("orders", Partition.Any), target);
        Assert.Equal(("k", "v", 7L), (sent.Key, sent.Value, sent.Timestamp.UnixTimestampMs));
        Assert.Equal(
            ["trace=1", "kbroker-delay-ms=2000"],
            sent.Headers.Select(static h => $"{h.Key}={Encoding.ASCII.GetString(h.GetValueBytes())}"));
        Assert.Single(message.Headers);
        Assert.Equal(
            ("orders", 3, 42L, DateTimeOffset.FromUnixTimeMilliseconds(12_000)),
            (record.Topic, record.Partition.Value, record.Offset.Value, record.Due));
    }

    [Fact]
    public async Task A_record_without_an_offset_cannot_be_cancelled()
    {
        var producer = FakeProducer.Create(Timestamp.Default, Offset.Unset);
        var record = await producer.ProduceDelayedAsync(
            new TopicPartition("orders", 3), new Message<string, string>(), Delay.Level(1));
        Assert.Null(record.Due);
        var refused = await Assert.ThrowsAsync<InvalidOperationException>(() => record.CancelAsync());
        Assert.Contains("acks=0", refused.Message, StringComparison.Ordinal);
    }

    /// <summary>Takes messages, and says that they are stored in partition 3.</summary>
    public class FakeProducer : DispatchProxy
    {
        private Timestamp _timestamp;
        private Offset _offset;

        internal List<(TopicPartition Target, Message<string, string> Message)> Sent { get; } = [];

        internal static IProducer<string, string> Create(Timestamp timestamp, Offset offset)
        {
            var producer = DispatchProxy.Create<IProducer<string, string>, FakeProducer>();
            (((FakeProducer)producer)._timestamp, ((FakeProducer)producer)._offset) = (timestamp, offset);
            return producer;
        }

        /// <inheritdoc/>
        protected override object? Invoke(MethodInfo? targetMethod, object?[]? args)
        {
            if (targetMethod?.Name == "get_Handle")
                return null;
            var target = (TopicPartition)args![0]!;
            var message = (Message<string, string>)args[1]!;
            Sent.Add((target, message));
            return Task.FromResult(new DeliveryResult<string, string>
            {
                TopicPartitionOffset = new TopicPartitionOffset(target.Topic, 3, _offset),
                Message = new Message<string, string>
                {
                    Key = message.Key,
                    Value = message.Value,
                    Headers = message.Headers,
                    Timestamp = _timestamp,
                },
            });
        }
    }
}
