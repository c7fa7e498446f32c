using KBroker.Delivery.Tests.Delay;
using KBroker.Protocol;
using KBroker.Storage;

namespace KBroker.Delivery.Tests.CheckBack;

/// <summary>
/// Random lives of a partition with half messages: decisions of all kinds, crashes, power cuts, retention, clocks that
/// jump, topics that cannot be created for a while. What the log says in the end must be what the rules say. One seed
/// is one life.
/// </summary>
public sealed class HalfModelTests
{
    private const int Steps = 120;
    private const int ChecksMax = 3;
    private const string Checks = "kbroker.check.pay";
    private const string Expired = "kbroker.txn.expired";

    public static TheoryData<int> Seeds => [.. Enumerable.Range(1, Count)];

    private static int Count =>
        int.TryParse(Environment.GetEnvironmentVariable("KBROKER_DELAY_SEEDS"), out var count) ? count : 30;

    [Theory]
    [MemberData(nameof(Seeds))]
    public void A_half_message_is_delivered_once_if_committed_first_and_otherwise_never(int seed)
    {
        using var life = new Life(seed);
        for (var step = 0; step < Steps; step++)
            life.Step();
        life.Finish();
    }

    private sealed record Half(long DueMs);

    private sealed record Decision(long Reference, long Offset, bool IsCommit, int ChecksBefore);

    private sealed class Life(int seed) : IDisposable
    {
        private readonly Random _random = new(seed);
        private readonly DelayHome _home = new(
            new LogConfig
            {
                CheckBackEnable = true,
                DelayEnable = true,
                CheckBackTimeoutMs = 2_000,
                CheckBackIntervalMs = 5_000,
                CheckBackMax = ChecksMax,
                SegmentBytes = 2_000,
                FileDeleteDelayMs = 0,
                RetentionMs = 30_000,
            },
            nearMax: 8,
            farMax: 8,
            checkpointWork: 15);

        private readonly SortedDictionary<long, Half> _halves = [];
        private readonly List<Decision> _decisions = [];
        private readonly Dictionary<long, List<(long Offset, long Time)>> _deliveries = [];
        private readonly List<(long Origin, long Offset)> _givenUp = [];
        private readonly List<string> _story = [];
        private long _observed;

        public void Step()
        {
            switch (_random.Next(20))
            {
                case < 5:
                    Prepare();
                    break;
                case < 9:
                    Decide();
                    break;
                case < 11:
                    Tell("plain", () => _home.Append("plain"));
                    break;
                case < 15:
                    Tell("time passes", () => Pass(_random.Next(1, 4_000)));
                    break;
                case 15:
                    Tell("restart", _home.Restart);
                    break;
                case 16:
                    Crash();
                    break;
                case 17:
                    Tell("retention", () => _home.Log.DeleteOldSegments(_home.Partition.HighWatermark));
                    break;
                case 18:
                    Tell("topics", () => _home.CanCreateTopics = !_home.CanCreateTopics);
                    break;
                default:
                    DeleteRecords();
                    break;
            }

            Observe();
        }

        public void Finish()
        {
            _home.CanCreateTopics = true;
            Tell("all is over", () => Pass(100_000));
            Tell("crash", () => _home.Crash());
            Tell("nothing more", () => Pass(100_000));
            Observe();
            var expired = _home.Others(Expired).Select(Origin).ToHashSet();
            var checks = _home.Others(Checks).GroupBy(Origin).ToDictionary(
                static g => g.Key, static g => g.ToList());
            foreach (var (offset, half) in _halves)
                Check(offset, half, expired.Contains(offset), checks.GetValueOrDefault(offset) ?? []);
            Check(_home.Schedule.OpenHalvesCount == 0, "some are open in the end");
            Check(_home.Schedule.PendingCount == 0, "some are pending in the end");
            foreach (var origin in _deliveries.Where(static d => d.Value.Count > 0).Select(static d => d.Key))
                Check(_halves.ContainsKey(origin), $"{origin} was delivered, but nobody sent it");
        }

        public void Dispose() => _home.Dispose();

        private static long Origin(Logged record) => long.Parse(
            record.Headers["kbroker-origin-offset"], System.Globalization.CultureInfo.InvariantCulture);

        private void Check(long offset, Half half, bool isExpired, List<Logged> checks)
        {
            var first = _decisions.Where(d => d.Reference == offset).MinBy(static d => d.Offset);
            var givenUp = _givenUp.Where(g => g.Origin == offset).Select(static g => g.Offset)
                .DefaultIfEmpty(long.MaxValue).Min();
            var deliveries = _deliveries.GetValueOrDefault(offset) ?? [];
            foreach (var check in checks)
                Check(int.Parse(check.Headers["kbroker-half-checks"]) <= ChecksMax, $"{offset} was checked too often");
            if (first is null || givenUp < first.Offset)
            {
                Check(givenUp != long.MaxValue, $"{offset} is undecided and was not given up");
                Check(isExpired, $"{offset} was given up and is not in {Expired}");
                Check(deliveries.Count == 0, $"{offset} was given up and delivered");
                return;
            }

            Check(!isExpired, $"{offset} was decided at {first.Offset} and is in {Expired}");
            Check(
                checks.Count <= first.ChecksBefore,
                $"{offset} was checked after its decision at {first.Offset}");
            if (!first.IsCommit)
            {
                Check(deliveries.Count == 0, $"{offset} was rolled back and delivered");
                return;
            }

            Check(deliveries.Count == 1, $"{offset} was committed and delivered {deliveries.Count} times");
            Check(deliveries[0].Offset > first.Offset, $"{offset} was delivered before its commit");
            Check(deliveries[0].Time >= half.DueMs, $"{offset} was delivered before it was due");
        }

        private void Prepare()
        {
            var delay = _random.Next(3) == 0 ? _random.Next(1, 20_000) : 0;
            var headers = new List<(string, string)>
            {
                ("kbroker-txn", "prepare"), ("kbroker-producer-group", "pay"),
            };
            if (delay > 0)
                headers.Add(DelayHome.After(delay));
            if (_random.Next(5) == 0)
                headers.Add(("kbroker-check-after-ms", $"{_random.Next(10_000)}"));
            Tell($"half, delay {delay}", () =>
            {
                var due = delay > 0 ? _home.Clock.WallMs + delay : 0;
                var appended = _home.TryAppend("half", null, [.. headers]);
                _halves[appended.Append.FirstOffset] = new Half(due);
            });
        }

        private void Decide()
        {
            if (_halves.Count == 0)
                return;
            // Mostly one of the last, that may be open.
            var back = _random.Next(3) == 0 ? _random.Next(_halves.Count) : _random.Next(Math.Min(5, _halves.Count));
            var reference = _halves.Keys.ElementAt(_halves.Count - 1 - back);
            var isCommit = _random.Next(3) > 0;
            var checks = _home.Others(Checks).Count(c => Origin(c) == reference);
            Tell($"{(isCommit ? "commit" : "rollback")} {reference}", () =>
            {
                var appended = _home.TryAppend(
                    "",
                    null,
                    ("kbroker-txn", isCommit ? "commit" : "rollback"),
                    ("kbroker-ref", $"{reference}"));
                Check(appended.Error == ErrorCode.None, appended.Message ?? "");
                _decisions.Add(new Decision(reference, appended.Append.FirstOffset, isCommit, checks));
            });
        }

        private void Crash()
        {
            var cutsPower = _random.Next(2) == 0;
            Tell(cutsPower ? "power cut" : "crash", () => _home.Crash(cutsPower ? _random : null));
            if (!cutsPower)
                return;
            // What was lost never was; and what the schedule wrote since is not looked at yet.
            var epoch = _home.Partition.LeaderEpoch;
            var end = _home.Read().Where(r => r.Batch.PartitionLeaderEpoch == epoch)
                .Select(static r => r.Batch.BaseOffset).DefaultIfEmpty(_home.Log.LogEndOffset).Min();
            _story.Add($"  the log ends at {end}");
            foreach (var offset in _halves.Keys.Where(o => o >= end).ToList())
                _halves.Remove(offset);
            _decisions.RemoveAll(d => d.Offset >= end);
            _givenUp.RemoveAll(g => g.Offset >= end);
            foreach (var deliveries in _deliveries.Values)
                deliveries.RemoveAll(d => d.Offset >= end);
            _observed = Math.Min(_observed, end);
        }

        private void DeleteRecords()
        {
            var span = _home.Log.LogEndOffset - _home.Log.LogStartOffset;
            if (span == 0)
                return;
            var offset = _home.Log.LogStartOffset + _random.NextInt64(span + 1);
            Tell($"delete below {offset}", () => _home.Partition.DeleteRecords(offset, out _));
        }

        /// <summary>Notes what the broker wrote since, before retention may take it away.</summary>
        private void Observe()
        {
            foreach (var record in _home.Read(_observed))
            {
                _observed = record.Batch.NextOffset;
                if (record.IsDelivery)
                {
                    if (!_deliveries.TryGetValue(Origin(record), out var deliveries))
                        _deliveries[Origin(record)] = deliveries = [];
                    deliveries.Add((record.Offset, record.Timestamp));
                }
                else if (record.Headers.GetValueOrDefault("kbroker-half-state") == "expiring")
                {
                    _givenUp.Add((Origin(record), record.Offset));
                }
            }

            foreach (var seen in _home.Consume(_home.Log.LogStartOffset))
                Check(!seen.Request.Hides(seen.Timestamp), $"{seen.Offset} is seen, but hidden");
        }

        /// <summary>In small steps, as time does: one look at the clock does one thing only.</summary>
        private void Pass(int ms)
        {
            const int Step = 200;
            for (; ms > 0; ms -= Step)
                _home.Advance(Math.Min(Step, ms));
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
