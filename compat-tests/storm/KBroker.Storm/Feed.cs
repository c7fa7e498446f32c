using Confluent.Kafka;

namespace KBroker.Storm;

/// <summary>Produces to all partitions of a topic, and knows what each holds.</summary>
internal sealed class Feed : IDisposable
{
    private const int RecordsPerSecond = 2000;
    private const int Slice = 50;
    private readonly IProducer<Null, Null> _producer;
    private readonly Task _sending;
    private readonly CancellationTokenSource _stop = new();
    private readonly Dictionary<(string Topic, int Partition), long> _ends = [];

    /// <summary>Begins.</summary>
    public Feed(string bootstrap, string topic, int partitions)
    {
        _producer = new ProducerBuilder<Null, Null>(new ProducerConfig
        {
            BootstrapServers = bootstrap,
            EnableIdempotence = true,
            LingerMs = 20,
            MessageTimeoutMs = 120_000,
        }).SetLogHandler(static (_, _) => { }).Build();
        _sending = SendAsync(topic, partitions);
    }

    /// <summary>Sends no more, and waits until all is acknowledged.</summary>
    /// <returns>The end offset of each partition that has records.</returns>
    /// <exception cref="TimeoutException">Something was not acknowledged in two minutes.</exception>
    public async Task<Dictionary<(string Topic, int Partition), long>> FinishAsync()
    {
        await _stop.CancelAsync();
        await _sending;
        var left = await Task.Run(() => _producer.Flush(TimeSpan.FromSeconds(120)));
        if (left > 0)
            throw new TimeoutException($"{left} records are not acknowledged");
        lock (_ends)
            return new(_ends);
    }

    public void Dispose()
    {
        _stop.Cancel();
        _producer.Dispose();
        _stop.Dispose();
    }

    private async Task SendAsync(string topic, int partitions)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds((double)Slice / RecordsPerSecond));
        try
        {
            for (var next = 0; await timer.WaitForNextTickAsync(_stop.Token);)
            {
                for (var i = 0; i < Slice; i++, next++)
                    _producer.Produce(new TopicPartition(topic, next % partitions), new(), Report);
            }
        }
        catch (OperationCanceledException)
        {
            // Enough.
        }
    }

    private void Report(DeliveryReport<Null, Null> report)
    {
        if (report.Error.IsError)
            return;
        lock (_ends)
        {
            var partition = (report.Topic, report.Partition.Value);
            _ends[partition] = Math.Max(_ends.GetValueOrDefault(partition), report.Offset + 1);
        }
    }
}
