using Confluent.Kafka;
using KBroker.Storm.History;

namespace KBroker.Storm.Members;

/// <summary>
/// A real consumer on a thread of its own: it works on what it gets, commits what it has worked on, also when
/// partitions are revoked, and tells a history everything.
/// </summary>
internal sealed class GroupMember
{
    private static readonly TimeSpan PollTime = TimeSpan.FromMilliseconds(100);
    private readonly MemberSettings _settings;
    private readonly Action<GroupEvent> _tell;
    private readonly IConsumer<Ignore, Ignore> _consumer;
    private readonly Thread _thread;
    private readonly Dictionary<TopicPartition, (long From, long To)> _worked = [];
    private readonly Dictionary<TopicPartition, long> _uncommitted = [];
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _records;
    private volatile bool _stop;
    private volatile bool _leave = true;

    /// <summary>Joins.</summary>
    /// <param name="settings">Who and where.</param>
    /// <param name="tell">Gets the events, from the member's own thread.</param>
    public GroupMember(MemberSettings settings, Action<GroupEvent> tell)
    {
        (_settings, _tell) = (settings, tell);
        _consumer = new ConsumerBuilder<Ignore, Ignore>(settings.Config())
            .SetLogHandler(static (_, _) => { })
            .SetErrorHandler(static (_, _) => { })
            .SetPartitionsAssignedHandler((_, given) => Assigned(given))
            .SetPartitionsRevokedHandler((_, taken) => Revoked(taken))
            .SetPartitionsLostHandler((_, taken) => Lost(taken))
            .Build();
        _consumer.Subscribe(settings.Topic);
        _thread = new Thread(Run) { IsBackground = true, Name = settings.Name };
        _thread.Start();
    }

    /// <summary>The member's name.</summary>
    public string Name => _settings.Name;

    /// <summary>Completes when the member has left, fails when its client failed.</summary>
    public Task Ended => _ended.Task;

    /// <summary>Closes the client in good order: revokes, commits, leaves.</summary>
    /// <returns>When it is closed.</returns>
    public Task LeaveAsync()
    {
        _stop = true;
        return Ended;
    }

    /// <summary>Disposes the client without leaving, as near to a crash as one gets within a process.</summary>
    public Task AbandonAsync()
    {
        _leave = false;
        return LeaveAsync();
    }

    private static long Now => TimeProvider.System.GetTimestamp();

    private void Run()
    {
        try
        {
            while (!_stop)
                Step();
            if (_leave)
                _consumer.Close();
            _consumer.Dispose();
            Tell(_leave ? EventKind.Left : EventKind.Killed, Now, -1, []);
            _ended.SetResult();
        }
        catch (KafkaException problem)
        {
            Tell(EventKind.Failed, Now, -1, [], problem.Error.Code.ToString());
            _consumer.Dispose();
            _ended.SetException(problem);
        }
    }

    private void Step()
    {
        ConsumeResult<Ignore, Ignore>? record = null;
        try
        {
            record = _consumer.Consume(PollTime);
        }
        catch (ConsumeException problem) when (!problem.Error.IsFatal)
        {
            // Brokers come and go here, and topics of patterns, too.
        }

        if (record is not null)
            Work(record.TopicPartition, record.Offset.Value);
        if (_uncommitted.Count > 0 && (record is null || _records >= _settings.RecordsPerCommit))
            Commit([.. _uncommitted.Keys]);
    }

    private void Work(TopicPartition partition, long offset)
    {
        if (_worked.TryGetValue(partition, out var range) && range.To != offset)
            TellWork(partition);
        _worked[partition] = (_worked.TryGetValue(partition, out range) ? range.From : offset, offset + 1);
        _uncommitted[partition] = offset + 1;
        _records++;
    }

    private void TellWork(TopicPartition partition)
    {
        if (_worked.Remove(partition, out var range))
            Tell(EventKind.Processed, Now, -1, [new(partition.Topic, partition.Partition, range.From, range.To)]);
    }

    /// <summary>
    /// Says what was worked on, then commits it; what is refused is tried again as long as it is owned.
    /// </summary>
    private void Commit(IReadOnlyCollection<TopicPartition> partitions)
    {
        foreach (var partition in partitions)
            TellWork(partition);
        TopicPartitionOffset[] offsets = [.. partitions.Where(_uncommitted.ContainsKey)
            .Select(p => new TopicPartitionOffset(p, _uncommitted[p]))];
        _records = 0;
        if (offsets.Length == 0)
            return;
        var begin = Now;
        try
        {
            _consumer.Commit(offsets);
            TellCommit(begin, offsets.Select(static o => new TopicPartitionOffsetError(o, new Error(ErrorCode.NoError))));
        }
        catch (TopicPartitionOffsetException problem)
        {
            TellCommit(begin, problem.Results);
        }
        catch (KafkaException problem) when (!problem.Error.IsFatal)
        {
            TellCommit(begin, offsets.Select(o => new TopicPartitionOffsetError(o, problem.Error)));
        }
    }

    private void TellCommit(long begin, IEnumerable<TopicPartitionOffsetError> results)
    {
        foreach (var result in results.GroupBy(static r => r.Error.Code))
        {
            var accepted = result.Key is ErrorCode.NoError;
            Span[] spans = [.. result.Select(static r => new Span(r.Topic, r.Partition, -1, r.Offset))];
            Tell(accepted ? EventKind.Committed : EventKind.Refused, begin, -1, spans, accepted ? "-" : result.Key.ToString());
            foreach (var done in result.Where(_ => accepted))
                _uncommitted.Remove(done.TopicPartition);
        }
    }

    private void Assigned(List<TopicPartition> given)
    {
        var begin = Now;
        var note = _settings switch
        {
            { Protocol: GroupProtocol.Consumer } => "consumer",
            { Instance: { } instance } => $"{GroupCheck.ClassicNote}:{instance}",
            _ => GroupCheck.ClassicNote,
        };
        Tell(EventKind.Assigned, begin, Librdkafka.Generation(_consumer), Spans(given), note);
    }

    private void Revoked(List<TopicPartitionOffset> taken)
    {
        var begin = Now;
        TopicPartition[] partitions = [.. taken.Select(static t => t.TopicPartition)];
        Commit(partitions);
        foreach (var partition in partitions)
            _uncommitted.Remove(partition);
        Tell(EventKind.Revoked, begin, -1, Spans(partitions));
    }

    private void Lost(List<TopicPartitionOffset> taken)
    {
        TopicPartition[] partitions = [.. taken.Select(static t => t.TopicPartition)];
        foreach (var partition in partitions)
        {
            TellWork(partition);
            _uncommitted.Remove(partition);
        }

        Tell(EventKind.Lost, Now, -1, Spans(partitions));
    }

    private static Span[] Spans(IEnumerable<TopicPartition> partitions) =>
        [.. partitions.Select(static p => new Span(p.Topic, p.Partition, -1, -1))];

    private void Tell(EventKind kind, long begin, int generation, IReadOnlyList<Span> spans, string note = "-") =>
        _tell(new GroupEvent(begin, Now, Name, kind, generation, spans, note));
}
