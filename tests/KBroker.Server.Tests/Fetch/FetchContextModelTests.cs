using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;
using KBroker.Server.Fetch;
using KBroker.Server.Tests.Net;

namespace KBroker.Server.Tests.Fetch;

/// <summary>
/// Random lives of a fetch session against a naive model of KIP-227: which partitions are served, from where, and
/// which of them an answer mentions.
/// </summary>
public sealed class FetchContextModelTests
{
    private const int Partitions = 6;
    private const string Topic = "t";

    [Theory]
    [InlineData(1, (short)12)]
    [InlineData(2, (short)12)]
    [InlineData(3, (short)13)]
    [InlineData(4, (short)18)]
    [InlineData(5, (short)7)]
    public void A_session_does_what_the_model_does(int seed, short version)
    {
        var random = new Random(seed);
        var cache = new FetchSessionCache(10, new ManualTime(), new Random(seed));
        var model = new Model();
        for (var step = 0; step < 2_000; step++)
        {
            model.ChangeWorld(random);
            var request = model.NextRequest(random);
            var context = FetchContext.Open(request, version, cache);
            Assert.Equal(ErrorCode.None, context.Error);
            while (context.TryTakeNext())
            {
                if (random.Next(3) == 0)
                    model.ChangeWorld(random);
            }

            var looked = context.Partitions.ToArray();
            if (!context.IsIncremental)
                Assert.Equal(model.Served, looked.Select(static p => p.Key.Partition));
            Assert.Equal(looked.Length, looked.Select(static p => p.Key.Partition).Distinct().Count());
            Assert.All(looked, p => Assert.Contains(p.Key.Partition, model.Served));
            Assert.All(looked, p => Assert.Equal(model.Position[p.Key.Partition], p.FetchOffset));
            model.Know(looked);
            FetchResponse.PartitionData[] answers = [.. looked.Select(model.Answer)];
            var expected = model.ExpectMentioned();

            // What happens now is told by the next fetch.
            model.ChangeWorld(random);
            var response = context.Finish(answers);
            Assert.Equal(expected.Order(), Mentioned(response).Order());
            model.SessionId = response.SessionId;
            Assert.Equal(model.Served.Count > 0, response.SessionId != 0);
        }
    }

    [Fact]
    public void Two_requests_of_one_session_at_once_are_told_apart()
    {
        var cache = new FetchSessionCache(10, new ManualTime(), new Random(1));
        var model = new Model();
        var opened = FetchContext.Open(model.Full([0, 1]), 12, cache);
        var id = opened.Finish([.. opened.Partitions.ToArray().Select(model.Answer)]).SessionId;
        var first = FetchContext.Open(new FetchRequest { SessionId = id, SessionEpoch = 1 }, 12, cache);
        var second = FetchContext.Open(new FetchRequest { SessionId = id, SessionEpoch = 2 }, 12, cache);
        Assert.Equal(
            ErrorCode.InvalidFetchSessionEpoch,
            first.Finish([.. first.Partitions.ToArray().Select(model.Answer)]).ErrorCode);
        Assert.Equal(ErrorCode.None, second.Finish([.. second.Partitions.ToArray().Select(model.Answer)]).ErrorCode);
    }

    [Fact]
    public void What_changes_without_an_event_is_told_after_a_second()
    {
        var time = new ManualTime();
        var cache = new FetchSessionCache(10, time, new Random(1));
        var model = new Model();
        var opened = FetchContext.Open(model.Full([0, 1, 2]), 12, cache);
        var id = opened.Finish([.. opened.Partitions.ToArray().Select(model.Answer)]).SessionId;
        Assert.False(Next(1).TryTakeNext());
        time.Advance(TimeSpan.FromMilliseconds(FetchSession.SweepMs));
        var swept = Next(2);
        while (swept.TryTakeNext())
        {
            // All of them.
        }

        Assert.Equal([0, 1, 2], swept.Partitions.ToArray().Select(static p => p.Key.Partition).Order());
        swept.Finish([.. swept.Partitions.ToArray().Select(model.Answer)]);
        Assert.False(Next(3).TryTakeNext());

        FetchContext Next(int epoch) =>
            FetchContext.Open(new FetchRequest { SessionId = id, SessionEpoch = epoch }, 12, cache);
    }

    private static IEnumerable<int> Mentioned(FetchResponse response) =>
        response.Responses.SelectMany(static t => t.Partitions).Select(static p => p.PartitionIndex);

    /// <summary>The world, what the client was told of it, and what must follow.</summary>
    private sealed class Model
    {
        private readonly long[] _highWatermark = new long[Partitions];
        private readonly long[] _logStart = new long[Partitions];
        private readonly bool[] _broken = new bool[Partitions];
        private readonly Dictionary<int, (long HighWatermark, long LogStart)> _told = [];
        private readonly Dictionary<int, FetchPartitionState> _states = [];
        private bool _isFull;
        private int _epoch;

        public List<int> Served { get; } = [];

        public long[] Position { get; } = new long[Partitions];

        public int SessionId { get; set; }

        public void ChangeWorld(Random random)
        {
            var partition = random.Next(Partitions);
            switch (random.Next(5))
            {
                case 0: _highWatermark[partition]++; break;
                case 1: _logStart[partition] = Math.Min(_logStart[partition] + 1, _highWatermark[partition]); break;
                case 2: _broken[partition] = !_broken[partition]; break;
                default: break;
            }

            if (_states.TryGetValue(partition, out var state))
                state.OnPartitionChanged();
        }

        public void Know(IEnumerable<FetchPartitionState> states)
        {
            foreach (var state in states)
                _states[state.Key.Partition] = state;
        }

        public FetchRequest NextRequest(Random random)
        {
            if (SessionId == 0 || random.Next(50) == 0)
            {
                var chosen = Enumerable.Range(0, Partitions).Where(_ => random.Next(2) == 0).ToList();
                return Full(chosen);
            }

            _isFull = false;
            var request = new FetchRequest { SessionId = SessionId, SessionEpoch = _epoch++ };
            var named = Enumerable.Range(0, Partitions).Where(_ => random.Next(6) == 0).ToList();
            foreach (var partition in named)
            {
                Position[partition] = random.NextInt64(0, _highWatermark[partition] + 1);
                if (!Served.Contains(partition))
                    Served.Add(partition);
            }

            AddTopic(request, named);
            if (Served.Count > 1 && random.Next(8) == 0)
            {
                var forgotten = Served[random.Next(Served.Count)];
                Served.Remove(forgotten);
                _told.Remove(forgotten);
                request.ForgottenTopicsData =
                    [new() { Topic = Topic, TopicId = new Uuid(1, 2), Partitions = [forgotten] }];
            }

            return request;
        }

        public FetchRequest Full(List<int> chosen)
        {
            _isFull = true;
            _epoch = 1;
            _told.Clear();
            Served.Clear();
            Served.AddRange(chosen);
            var request = new FetchRequest { SessionId = SessionId, SessionEpoch = 0 };
            AddTopic(request, chosen);
            return request;
        }

        public FetchResponse.PartitionData Answer(FetchPartitionState state)
        {
            var partition = state.Key.Partition;
            state.HasMore = _broken[partition] || HasRecords(partition);
            return _broken[partition]
                ? new() { PartitionIndex = partition, ErrorCode = ErrorCode.KafkaStorageError, HighWatermark = -1 }
                : new()
                {
                    PartitionIndex = partition,
                    HighWatermark = _highWatermark[partition],
                    LogStartOffset = _logStart[partition],
                    Records = HasRecords(partition) ? new Records(new byte[] { 1 }) : Records.Empty,
                };
        }

        public List<int> ExpectMentioned()
        {
            var mentioned = new List<int>();
            foreach (var partition in Served)
            {
                var now = (_highWatermark[partition], _logStart[partition]);
                if (!_isFull && !_broken[partition] && !HasRecords(partition)
                    && _told.TryGetValue(partition, out var told) && told == now)
                    continue;
                mentioned.Add(partition);
                if (_broken[partition])
                    _told.Remove(partition);
                else
                    _told[partition] = now;
            }

            return mentioned;
        }

        private bool HasRecords(int partition) => Position[partition] < _highWatermark[partition];

        private void AddTopic(FetchRequest request, List<int> partitions)
        {
            if (partitions.Count == 0)
                return;
            request.Topics =
            [
                new()
                {
                    Topic = Topic,
                    TopicId = new Uuid(1, 2),
                    Partitions = [.. partitions.Select(p => new FetchRequest.FetchPartition
                    {
                        Partition = p, FetchOffset = Position[p], PartitionMaxBytes = 100,
                    })],
                },
            ];
        }
    }
}
