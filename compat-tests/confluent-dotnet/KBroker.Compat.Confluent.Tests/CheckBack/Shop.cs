using System.Collections.Concurrent;
using Confluent.Kafka;
using KBroker.Client.CheckBack;

namespace KBroker.Compat.Confluent.Tests.CheckBack;

/// <summary>A process that sends by check-back, with a database that outlives it.</summary>
internal sealed class Shop : IAsyncDisposable
{
    private readonly ConcurrentDictionary<string, LocalTransactionState> _database;

    public Shop(
        string bootstrap,
        string group,
        ConcurrentDictionary<string, LocalTransactionState> database,
        Func<string, LocalTransactionState>? execute = null,
        TimeSpan? closeTimeout = null)
    {
        _database = database;
        Producer = new CheckBackProducer<string, string>(new CheckBackOptions<string, string>
        {
            Config = new ProducerConfig { BootstrapServers = bootstrap, LingerMs = 0, AllowAutoCreateTopics = false },
            ProducerGroup = group,
            ExecuteLocalTransaction = (message, half, _) =>
            {
                Halves[message.Value] = half;
                return execute is null ? Hang.Task : Task.FromResult(execute(message.Value));
            },
            CheckLocalTransaction = (message, half, _) =>
            {
                Checks.Enqueue((message, half));
                return Task.FromResult(_database.GetValueOrDefault(message.Value));
            },
            CloseTimeout = closeTimeout ?? TimeSpan.FromSeconds(30),
            ConfigureChecks = static c => c.FetchWaitMaxMs = 100,
            Log = Log.Enqueue,
            OnError = e => Log.Enqueue($"error: {e.Message}"),
        });
    }

    public CheckBackProducer<string, string> Producer { get; }

    /// <summary>The half messages that are stored, by value.</summary>
    public ConcurrentDictionary<string, HalfMessage> Halves { get; } = new();

    public ConcurrentQueue<(Message<string, string> Message, HalfMessage Half)> Checks { get; } = new();

    public ConcurrentQueue<string> Log { get; } = new();

    /// <summary>What a local transaction waits for that does not end.</summary>
    public TaskCompletionSource<LocalTransactionState> Hang { get; } = new();

    public static Message<string, string> Order(string value) => new()
    {
        Key = "order",
        Value = value,
        Headers = new Headers { { "app", "x"u8.ToArray() } },
    };

    public ValueTask DisposeAsync() => Producer.DisposeAsync();
}
