using KBroker.Protocol.Records;
using KBroker.Storage;

namespace KBroker.Delivery.Tests.Delay;

/// <summary>
/// Random lives of a partition with delayed records: crashes, power cuts, retention, transactions, cancels, clocks that
/// jump. What the log says in the end must be what the rules say. One seed is one life.
/// </summary>
public sealed class DelayModelTests
{
    private const int Steps = 120;

    public static TheoryData<int> Seeds => [.. Enumerable.Range(1, Count)];

    private static int Count =>
        int.TryParse(Environment.GetEnvironmentVariable("KBROKER_DELAY_SEEDS"), out var count) ? count : 30;

    [Theory]
    [MemberData(nameof(Seeds))]
    public void Every_delayed_record_is_delivered_exactly_once_and_in_time(int seed)
    {
        var life = new Life(seed);
        using (life)
        {
            for (var step = 0; step < Steps; step++)
                life.Step();
            life.Finish();
        }
    }

    private sealed record Scheduled(long Due, long Producer)
    {
        /// <summary>The offset from which on the record counts: its own, or that of its commit marker.</summary>
        public long? Since { get; set; }

        public bool IsAborted { get; set; }
    }

    private sealed class Life(int seed) : IDisposable
    {
        private static readonly CompressionType[] Codecs =
            [CompressionType.None, CompressionType.None, CompressionType.Lz4, CompressionType.Gzip];

        private readonly Random _random = new(seed);
        private readonly DelayHome _home = new(
            new LogConfig { DelayEnable = true, SegmentBytes = 2_000, FileDeleteDelayMs = 0, RetentionMs = 30_000 },
            nearMax: 8,
            farMax: 8,
            checkpointWork: 15,
            gatherMs: 3);

        private readonly SortedDictionary<long, Scheduled> _scheduled = [];
        private readonly Dictionary<long, (long At, List<(long Target, long By)> Cancels)> _open = [];
        private readonly List<(long Target, long Since)> _cancels = [];
        private readonly Dictionary<long, List<(long Offset, long Time)>> _deliveries = [];
        private readonly List<string> _story = [];
        private long _observed;
        private long _nextProducer = 100;

        public void Step()
        {
            switch (_random.Next(20))
            {
                case < 7:
                    Produce(producer: -1);
                    break;
                case < 9:
                    Produce(BeginOrContinue());
                    break;
                case 9:
                    End();
                    break;
                case < 12:
                    Cancel();
                    break;
                case < 16:
                    Tell($"time passes", () => _home.Advance(_random.Next(1, 4_000)));
                    break;
                case 16:
                    Tell("restart", _home.Restart);
                    break;
                case 17:
                    Crash();
                    break;
                case 18:
                    Tell("retention", () => _home.Log.DeleteOldSegments(_home.Partition.HighWatermark));
                    break;
                default:
                    DeleteRecords();
                    break;
            }

            Observe();
        }

        public void Finish()
        {
            foreach (var producer in _open.Keys.ToList())
                End(producer);
            Tell("all is due", () => _home.Advance(200_000));
            Tell("crash", () => _home.Crash());
            Observe();
            foreach (var (origin, record) in _scheduled)
            {
                var cancelledAt = _cancels.Where(c => c.Target == origin).Select(static c => c.Since)
                    .DefaultIfEmpty(long.MaxValue).Min();
                var deliveries = _deliveries.GetValueOrDefault(origin) ?? [];
                if (record.IsAborted)
                    Check(deliveries.Count == 0, $"{origin} was aborted and delivered");
                else if (deliveries.Count == 0)
                    Check(cancelledAt != long.MaxValue, $"{origin}, due {record.Due}, was never delivered");
                else
                    Check(deliveries.Count == 1, $"{origin} was delivered {deliveries.Count} times");
                foreach (var (offset, time) in deliveries)
                {
                    Check(time >= record.Due, $"{origin}, due {record.Due}, was delivered at {time}");
                    Check(offset > record.Since, $"{origin} was delivered at {offset}, before it counted");
                    Check(offset < cancelledAt, $"{origin}, cancelled at {cancelledAt}, was delivered at {offset}");
                }
            }

            Check(_home.Schedule.PendingCount == 0, $"{_home.Schedule.PendingCount} are pending in the end");
            foreach (var origin in _deliveries.Where(static d => d.Value.Count > 0).Select(static d => d.Key))
                Check(_scheduled.ContainsKey(origin), $"{origin} was delivered, but nobody asked for that");
        }

        public void Dispose() => _home.Dispose();

        private void Produce(long producer)
        {
            var count = _random.Next(1, 6);
            var delays = Enumerable.Range(0, count)
                .Select(_ => _random.Next(3) == 0 ? 0 : (long)_random.Next(1, 60_000)).ToList();
            var options = new RecordBatchOptions
            {
                Compression = Codecs[_random.Next(Codecs.Length)],
                ProducerId = producer,
                ProducerEpoch = (short)(producer < 0 ? -1 : 0),
                BaseSequence = producer < 0 ? -1 : Sequence(producer, count),
                IsTransactional = producer >= 0,
            };
            Tell($"produce {string.Join(' ', delays)} by {producer}", () =>
            {
                var first = _home.Append(options, [.. delays.Select(static d =>
                    ("value", d == 0 ? ((string, string)?)null : DelayHome.After(d)))]);
                for (var i = 0; i < count; i++)
                {
                    if (delays[i] > 0)
                    {
                        _scheduled[first + i] = new Scheduled(_home.Clock.WallMs + delays[i], producer)
                        {
                            Since = producer < 0 ? first + i : null,
                        };
                    }
                }
            });
        }

        private readonly Dictionary<long, int> _sequences = [];

        private int Sequence(long producer, int count)
        {
            var sequence = _sequences.GetValueOrDefault(producer);
            _sequences[producer] = sequence + count;
            return sequence;
        }

        private long BeginOrContinue()
        {
            if (_open.Count > 0 && _random.Next(2) == 0)
                return _open.Keys.ElementAt(_random.Next(_open.Count));
            var producer = _nextProducer++;
            _open[producer] = (_home.Log.LogEndOffset, []);
            return producer;
        }

        private void End()
        {
            if (_open.Count > 0)
                End(_open.Keys.ElementAt(_random.Next(_open.Count)));
        }

        private void End(long producer)
        {
            var isCommit = _random.Next(3) > 0;
            Tell($"{(isCommit ? "commit" : "abort")} {producer}", () => _home.Mark(producer, isCommit));
            // The marker is somewhere before the deliveries that it let go.
            var marker = _home.Read(_open[producer].At)
                .Last(r => r.Batch.IsControl && r.Batch.ProducerId == producer).Offset;
            _open.Remove(producer, out var transaction);
            foreach (var record in _scheduled.Values.Where(r => r.Producer == producer))
                (record.IsAborted, record.Since) = (!isCommit, marker);
            if (isCommit)
                _cancels.AddRange(transaction.Cancels.Select(c => (c.Target, marker)));
        }

        private void Cancel()
        {
            if (_scheduled.Count == 0)
                return;
            var target = _scheduled.Keys.ElementAt(_random.Next(_scheduled.Count));
            var producer = _random.Next(3) == 0 && _open.Count > 0 ? _open.Keys.First() : -1;
            var options = new RecordBatchOptions
            {
                ProducerId = producer,
                ProducerEpoch = (short)(producer < 0 ? -1 : 0),
                BaseSequence = producer < 0 ? -1 : Sequence(producer, 1),
                IsTransactional = producer >= 0,
            };
            Tell($"cancel {target} by {producer}", () =>
            {
                var by = _home.Append(options, ("", DelayHome.Cancel(target)));
                if (producer < 0)
                    _cancels.Add((target, by));
                else
                    _open[producer].Cancels.Add((target, by));
            });
        }

        private void Crash()
        {
            var cutsPower = _random.Next(2) == 0;
            Tell(cutsPower ? "power cut" : "crash", () => _home.Crash(cutsPower ? _random : null));
            if (!cutsPower)
                return;
            // What was lost never was.
            var end = _home.Log.LogEndOffset;
            _story.Add($"  the log ends at {end}");
            Forget(end);
        }

        private void Forget(long end)
        {
            // The schedule may have delivered again before the end was looked at.
            end = Math.Min(end, FirstNewOffset(end));
            foreach (var offset in _scheduled.Keys.Where(o => o >= end).ToList())
                _scheduled.Remove(offset);
            _cancels.RemoveAll(c => c.Since >= end);
            foreach (var deliveries in _deliveries.Values)
                deliveries.RemoveAll(d => d.Offset >= end);
            _observed = Math.Min(_observed, end);
            foreach (var producer in _open.Keys.ToList())
            {
                _open[producer].Cancels.RemoveAll(c => c.By >= end);
                _sequences.Remove(producer);
            }

            foreach (var record in _scheduled.Values.Where(r => r.Since >= end && r.Producer >= 0))
                (record.Since, record.IsAborted) = (null, false);
            RestoreTransactions();
        }

        /// <summary>Where the log that a power cut left ends: what is behind was written since.</summary>
        private long FirstNewOffset(long end)
        {
            var epoch = _home.Partition.LeaderEpoch;
            return _home.Read().Where(r => r.Batch.PartitionLeaderEpoch == epoch).Select(static r => r.Batch.BaseOffset)
                .DefaultIfEmpty(end).Min();
        }

        /// <summary>A marker or the records of a transaction may be lost: each is aborted, and begun anew.</summary>
        private void RestoreTransactions()
        {
            var open = _home.Log.GetActiveProducers().Where(static p => p.CurrentTransactionStartOffset >= 0)
                .Select(static p => p.ProducerId).ToHashSet();
            _open.Clear();
            foreach (var producer in open)
            {
                _open[producer] = (0, []);
                _home.Mark(producer, isCommit: false);
                _open.Remove(producer);
                foreach (var record in _scheduled.Values.Where(r => r.Producer == producer && r.Since is null))
                    (record.IsAborted, record.Since) = (true, _home.Log.LogEndOffset - 1);
            }
        }

        private void DeleteRecords()
        {
            var span = _home.Log.LogEndOffset - _home.Log.LogStartOffset;
            if (span == 0)
                return;
            var offset = _home.Log.LogStartOffset + _random.NextInt64(span + 1);
            Observe();
            Tell($"delete below {offset}", () => _home.Partition.DeleteRecords(offset, out _));
        }

        /// <summary>Notes the deliveries that came since, before retention may take them away.</summary>
        private void Observe()
        {
            foreach (var record in _home.Read(_observed))
            {
                _observed = record.Batch.NextOffset;
                if (!record.IsDelivery)
                    continue;
                var origin = record.Request.OriginOffset;
                if (!_deliveries.TryGetValue(origin, out var deliveries))
                    _deliveries[origin] = deliveries = [];
                deliveries.Add((record.Offset, record.Timestamp));
            }

            foreach (var seen in _home.Consume(_home.Log.LogStartOffset))
                Check(!seen.Request.Hides(seen.Timestamp), $"{seen.Offset} is seen, but hidden");
        }

        private void Tell(string what, Action act)
        {
            _story.Add($"{_home.Clock.WallMs - DelayHome.StartMs} {_home.Log.LogEndOffset}: {what}");
            act();
        }

        private void Check(bool holds, string what) =>
            Assert.True(holds, $"seed {seed}: {what}\n{string.Join('\n', _story)}");
    }
}
