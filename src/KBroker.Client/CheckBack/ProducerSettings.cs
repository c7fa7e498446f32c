using Confluent.Kafka;

namespace KBroker.Client.CheckBack;

/// <summary>What the configuration of a producer has to be for half messages.</summary>
internal static class ProducerSettings
{
    // librdkafka's settings of producers; a consumer would complain about them.
    private static readonly HashSet<string> OfProducers = new(StringComparer.Ordinal)
    {
        "acks",
        "batch.num.messages",
        "batch.size",
        "compression.codec",
        "compression.level",
        "compression.type",
        "delivery.report.only.error",
        "delivery.timeout.ms",
        "enable.gapless.guarantee",
        "enable.idempotence",
        "linger.ms",
        "message.send.max.retries",
        "message.timeout.ms",
        "partitioner",
        "queue.buffering.backpressure.threshold",
        "queue.buffering.max.kbytes",
        "queue.buffering.max.messages",
        "queue.buffering.max.ms",
        "request.required.acks",
        "request.timeout.ms",
        "retries",
        "sticky.partitioning.linger.ms",
        "transaction.timeout.ms",
    };

    /// <summary>Whether a setting is one of producers only.</summary>
    public static bool IsProducerOnly(string key) =>
        OfProducers.Contains(key) || key.StartsWith("dotnet.producer.", StringComparison.Ordinal);

    /// <summary>A copy, with what is needed.</summary>
    /// <exception cref="ArgumentException">Half messages cannot be sent that way.</exception>
    public static ProducerConfig Of(ProducerConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        var own = new ProducerConfig(new Dictionary<string, string>(config, StringComparer.Ordinal));
        if (!string.IsNullOrEmpty(own.TransactionalId))
        {
            throw new ArgumentException(
                "Half messages are no part of a Kafka transaction: transactional.id must not be set.", nameof(config));
        }

        if (own.Acks == Acks.None)
        {
            throw new ArgumentException(
                "Half messages cannot be sent with acks=0: nobody would know their offsets.", nameof(config));
        }

        if (own.EnableDeliveryReports == false)
            throw new ArgumentException("Half messages need delivery reports, for their offsets.", nameof(config));
        if (own.EnableIdempotence is null && own.Acks is null or Acks.All)
            own.EnableIdempotence = true;
        return own;
    }
}
