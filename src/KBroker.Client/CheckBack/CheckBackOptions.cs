using Confluent.Kafka;

namespace KBroker.Client.CheckBack;

/// <summary>What a <see cref="CheckBackProducer{TKey, TValue}"/> is made of.</summary>
/// <typeparam name="TKey">Type of the keys.</typeparam>
/// <typeparam name="TValue">Type of the values.</typeparam>
public sealed record CheckBackOptions<TKey, TValue>
{
    /// <summary>
    /// The configuration of the producer, from which the consumer of the checks takes servers and security, too. It is
    /// idempotent unless it says otherwise: a half message that is stored twice is delivered twice. It must not have a
    /// <c>transactional.id</c>, nor acks=0.
    /// </summary>
    public required ProducerConfig Config { get; init; }

    /// <summary>
    /// Those who can tell what became of a half message: any instance of this group is asked. 1 to 235 ASCII letters,
    /// digits, '.', '_' or '-'.
    /// </summary>
    public required string ProducerGroup { get; init; }

    /// <summary>
    /// Runs the local transaction: the half message is stored, and nobody sees it yet. An exception means
    /// <see cref="LocalTransactionState.Unknown"/>, and is thrown on to the sender.
    /// </summary>
    public required Func<Message<TKey, TValue>, HalfMessage, CancellationToken, Task<LocalTransactionState>>
        ExecuteLocalTransaction
    { get; init; }

    /// <summary>
    /// Tells what became of a local transaction, perhaps another process's, by looking it up where it left its traces.
    /// It may be asked about one that is still running, or was decided on, and twice, and concurrently. An exception
    /// means <see cref="LocalTransactionState.Unknown"/>: it goes to <see cref="OnError"/>, and the broker asks again.
    /// The message has the user's headers, and the timestamp of the half message.
    /// </summary>
    public required Func<Message<TKey, TValue>, HalfMessage, CancellationToken, Task<LocalTransactionState>>
        CheckLocalTransaction
    { get; init; }

    /// <summary>When the broker asks for the first time; null for the topic's <c>kbroker.txn.timeout.ms</c>.</summary>
    public TimeSpan? CheckAfter { get; init; }

    /// <summary>Checks that are answered at the same time, at most.</summary>
    public int ConcurrentChecks { get; init; } = 16;

    /// <summary>How long disposing waits for messages that are being sent.</summary>
    public TimeSpan CloseTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Changes the configuration of the consumer of the checks.</summary>
    public Action<ConsumerConfig>? ConfigureChecks { get; init; }

    /// <summary>Writes keys; null for Confluent.Kafka's own way.</summary>
    public ISerializer<TKey>? KeySerializer { get; init; }

    /// <summary>Writes values; null for Confluent.Kafka's own way.</summary>
    public ISerializer<TValue>? ValueSerializer { get; init; }

    /// <summary>Reads keys of checks; null for Confluent.Kafka's own way.</summary>
    public IDeserializer<TKey>? KeyDeserializer { get; init; }

    /// <summary>Reads values of checks; null for Confluent.Kafka's own way.</summary>
    public IDeserializer<TValue>? ValueDeserializer { get; init; }

    /// <summary>Told what goes on, the log of librdkafka included, from any thread; null leaves that log on
    /// the standard error.</summary>
    public Action<string>? Log { get; init; }

    /// <summary>Told what fails in the background: answering checks, connections. From any thread.</summary>
    public Action<Exception>? OnError { get; init; }
}
