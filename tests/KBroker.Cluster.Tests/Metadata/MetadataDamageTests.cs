using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Storage;
using KBroker.Storage.Files;
using KBroker.Storage.Tests;

namespace KBroker.Cluster.Tests.Metadata;

/// <summary>Damaged files of the metadata, and a machine that dies at any file operation.</summary>
public sealed class MetadataDamageTests
{
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_flipped_bit_in_the_log_is_refused_or_changes_nothing(bool clean)
    {
        var refused = await FlipAsync(clean, snapshot: false, "00000000000000000000.log");
        Assert.True(refused > 10);
    }

    [Fact]
    public async Task A_flipped_bit_in_a_snapshot_is_made_good_from_the_log() =>
        Assert.Equal(0, await FlipAsync(clean: true, snapshot: true, "*.checkpoint"));

    [Theory]
    [InlineData("quorum-state")]
    [InlineData("../bootstrap.checkpoint")]
    [InlineData("00000000000000000000.index")]
    [InlineData("00000000000000000000.timeindex")]
    [InlineData("*.snapshot")]
    [InlineData("leader-epoch-checkpoint")]
    [InlineData("partition.metadata")]
    public async Task A_flipped_bit_in_a_smaller_file_is_refused_or_changes_nothing(string pattern) =>
        await FlipAsync(clean: true, snapshot: false, pattern);

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_machine_that_dies_at_any_operation_keeps_every_acknowledged_change_whole(bool failsOnce)
    {
        for (var operation = 1; ; operation++)
        {
            var root = Directory.CreateTempSubdirectory("kbroker-metadata-").FullName;
            try
            {
                if (!await CrashAtAsync(operation, root, failsOnce))
                {
                    Assert.True(operation > 10);
                    return;
                }
            }
            finally
            {
                Directory.Delete(root, recursive: true);
            }
        }
    }

    [Fact]
    public async Task A_snapshot_is_written_when_its_time_has_come_although_nothing_is_committed()
    {
        var clock = new JumpingClock();
        await using var home = new MetadataHome(
            properties: ("metadata.log.max.record.bytes.between.snapshots", "20000000"))
        {
            Time = clock,
            RunInBackground = action =>
            {
                action();
                return Task.CompletedTask;
            },
        };
        await home.StartAsync();
        await home.CreateAsync("orders");
        Assert.Empty(Snapshots());
        clock.Jump(TimeSpan.FromHours(1));
        var first = Assert.Single(Snapshots());
        clock.Jump(TimeSpan.FromHours(1));
        Assert.Equal([first], Snapshots());

        string[] Snapshots() => Directory.GetFiles(home.LogDirectory, "*.checkpoint");
    }

    /// <summary>Flips bits all over a file: a start shows the same topics, or is refused by name.</summary>
    /// <returns>How often it was refused.</returns>
    private static async Task<int> FlipAsync(bool clean, bool snapshot, string pattern)
    {
        var files = new FaultInjectingFileSystem(new PhysicalFileSystem());
        await using var home = await new MetadataHome { Files = files }.StartAsync();
        for (var i = 0; i < 5; i++)
            await home.CreateAsync($"topic-{i}", partitions: 2);
        if (snapshot)
            home.Log.WriteSnapshot();
        await home.CreateAsync("last");
        if (clean)
        {
            await home.StopAsync();
        }
        else
        {
            home.Logs.CheckpointRecoveryPoints();
            await home.CrashAsync();
        }

        var content = Directory.GetFiles(home.Directory, "*", SearchOption.AllDirectories)
            .ToDictionary(f => f, File.ReadAllBytes);
        var target = Directory.GetFiles(home.LogDirectory, pattern).Order().First();
        var expected = Enumerable.Range(0, 5).Select(i => $"topic-{i}").Append("last").Order().ToArray();
        var refused = 0;
        var bytes = content[Path.GetFullPath(target)];
        for (var position = 0; position < bytes.Length; position += Math.Max(1, bytes.Length / 120))
        {
            Restore(home.Directory, content);
            var damaged = bytes.ToArray();
            damaged[position] ^= (byte)(1 << (position % 8));
            File.WriteAllBytes(target, damaged);
            try
            {
                home.OpenLog().BecomeLeader();
                Assert.Equal(expected, home.Image.Topics.ByName.Keys.Order());
            }
            catch (Exception exception) when (exception is CorruptLogException or InvalidMetadataException)
            {
                Assert.Contains("__cluster_metadata-0", exception.Message);
                refused++;
            }

            home.Logs.Abandon();
        }

        Restore(home.Directory, content);
        return refused;
    }

    private static void Restore(string root, Dictionary<string, byte[]> content)
    {
        foreach (var path in Directory.GetFiles(root, "*", SearchOption.AllDirectories))
        {
            if (!content.ContainsKey(path))
                File.Delete(path);
        }

        foreach (var (path, bytes) in content)
            File.WriteAllBytes(path, bytes);
    }

    /// <summary>Runs changes until an operation of the file system is the machine's last.</summary>
    /// <returns>False when they need fewer operations than that.</returns>
    private static async Task<bool> CrashAtAsync(int operation, string root, bool failsOnce)
    {
        var files = new FaultInjectingFileSystem(new PhysicalFileSystem());
        var home = await new MetadataHome(root) { Files = files }.StartAsync();
        await home.CreateAsync("base", partitions: 2);
        var left = operation;
        files.Fault = (_, _) => Interlocked.Decrement(ref left) is var now && (failsOnce ? now == 0 : now <= 0)
            ? new IOException("The disk is gone.") : null;
        var acknowledged = new List<string>();
        try
        {
            if ((await home.CreateAsync("created", partitions: 3)).ErrorCode == ErrorCode.None)
                acknowledged.Add("create");
            if ((await home.SetAsync(ConfigResourceType.Topic, "base", "retention.ms", "77")).Error == ErrorCode.None)
                acknowledged.Add("config");
            home.Log.WriteSnapshot();
            var deleted = await home.Controller.DeleteTopicsAsync(new() { TopicNames = ["base"] });
            if (deleted.Responses[0].ErrorCode == ErrorCode.None)
                acknowledged.Add("delete");
            if ((await home.CreateAsync("large", partitions: 12_000)).ErrorCode == ErrorCode.None)
                acknowledged.Add("large");
        }
        catch (IOException)
        {
            // The snapshot; what follows would fail as well.
        }

        var isOver = Volatile.Read(ref left) > 0;
        files.Fault = null;
        await home.CrashAsync();
        files.CutPower(operation % 3 == 0 ? null : new Random(operation));

        await using var again = await new MetadataHome(root)
        {
            Files = new FaultInjectingFileSystem(new PhysicalFileSystem()),
        }.StartAsync(cleanShutdown: false);
        Check(again.Image, acknowledged, operation);
        return !isOver;
    }

    private static void Check(MetadataImage image, List<string> acknowledged, int operation)
    {
        var at = $"operation {operation}, acknowledged {string.Join(' ', acknowledged)}";
        var created = image.Topics.Find("created");
        Assert.True(created is null or { Partitions.Length: 3 }, at);
        Assert.True(created is not null || !acknowledged.Contains("create"), at);
        var large = image.Topics.Find("large");
        Assert.True(large is null or { Partitions.Length: 12_000 }, at);
        Assert.True(large is not null || !acknowledged.Contains("large"), at);
        var first = image.Topics.Find("base");
        Assert.True(first is null or { Partitions.Length: 2 }, at);
        Assert.True(first is null || !acknowledged.Contains("delete"), at);
        if (first is not null && acknowledged.Contains("config"))
            Assert.Equal("77", image.Configs.OfTopic("base").GetValueOrDefault("retention.ms"));
    }

    /// <summary>Time that jumps when it is told to; timers run in the caller.</summary>
    private sealed class JumpingClock : TimeProvider
    {
        private readonly List<Timer> _timers = [];
        private DateTimeOffset _now = DateTimeOffset.UnixEpoch.AddYears(50);

        public override DateTimeOffset GetUtcNow() => _now;

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            var timer = new Timer(callback, state, period);
            _timers.Add(timer);
            return timer;
        }

        public void Jump(TimeSpan time)
        {
            _now += time;
            foreach (var timer in _timers)
                timer.RunIfDue(time);
        }

        private sealed class Timer(TimerCallback callback, object? state, TimeSpan period) : ITimer
        {
            private bool _isDisposed;

            public void RunIfDue(TimeSpan passed)
            {
                if (!_isDisposed && passed >= period)
                    callback(state);
            }

            public bool Change(TimeSpan dueTime, TimeSpan newPeriod) => true;

            public void Dispose() => _isDisposed = true;

            public ValueTask DisposeAsync()
            {
                Dispose();
                return default;
            }
        }
    }
}
