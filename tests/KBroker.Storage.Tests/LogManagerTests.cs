using KBroker.Protocol;
using KBroker.Storage.Files;

namespace KBroker.Storage.Tests;

public sealed class LogManagerTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("kbroker-manager-").FullName;

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Fact]
    public void A_locked_directory_is_refused_with_a_reason()
    {
        using var first = Open("a");
        var error = Assert.Throws<LogDirectoryException>(() => Open("a"));
        Assert.Contains(".lock is locked", error.Message);
        first.Close(-1);
        using var second = Open("a");
    }

    [Fact]
    public void New_directories_are_formatted_and_keep_their_ids()
    {
        Uuid[] ids;
        string cluster;
        using (var manager = Open("a", "b"))
        {
            ids = [.. manager.Directories.Select(d => d.DirectoryId)];
            cluster = manager.ClusterId;
            Assert.NotEqual(ids[0], ids[1]);
            Assert.All(ids, id => Assert.False(id.IsZero));
        }

        using var again = Open("a", "b");
        Assert.Equal(ids, again.Directories.Select(d => d.DirectoryId));
        Assert.Equal(cluster, again.ClusterId);
    }

    [Fact]
    public void A_directory_of_another_node_or_cluster_is_refused()
    {
        Open("a").Close(-1);
        Assert.Contains("node.id 1", Assert.Throws<LogDirectoryException>(
            () => LogManager.Open(Options("a") with { NodeId = 2 })).Message);
        Assert.Contains("cluster.id", Assert.Throws<LogDirectoryException>(
            () => LogManager.Open(Options("a") with { ClusterId = "other" })).Message);
        using var manager = Open("a");
    }

    [Fact]
    public void Two_directories_with_one_id_are_refused()
    {
        Open("a", "b").Close(-1);
        File.Copy(Path.Combine(_root, "a", "meta.properties"), Path.Combine(_root, "b", "meta.properties"), true);
        Assert.Contains("of another log directory", Assert.Throws<LogDirectoryException>(() => Open("a", "b")).Message);
    }

    [Fact]
    public void A_log_that_lies_in_a_directory_that_is_not_there_is_not_made_anew()
    {
        var lost = Uuid.Parse("EBESExQVFhcYGRobHB0eHw");
        var partition = new TopicPartition("t", 0);
        using (var manager = Open("a"))
        {
            manager.LoadLogs((_, _) => new LogConfig());
            Assert.Contains($"kbroker.lost.log.dirs={lost}", Assert.Throws<StorageException>(
                () => manager.GetOrCreate(partition, TestStorage.TopicId, new LogConfig(), lost)).Message);
        }

        using var again = LogManager.Open(Options("a") with { LostDirectories = [lost] });
        again.LoadLogs((_, _) => new LogConfig());
        again.GetOrCreate(partition, TestStorage.TopicId, new LogConfig(), lost);
    }

    [Fact]
    public void A_log_that_may_lie_in_a_directory_that_is_offline_is_not_made_anew()
    {
        File.WriteAllText(Path.Combine(_root, "file"), "");
        using var manager = Open("a", "file");
        manager.LoadLogs((_, _) => new LogConfig());
        foreach (var id in new[] { Uuid.Zero, new Uuid(0, 1), Uuid.Parse("EBESExQVFhcYGRobHB0eHw") })
        {
            Assert.Throws<StorageException>(
                () => manager.GetOrCreate(new("t", 0), TestStorage.TopicId, new LogConfig(), id));
        }

        manager.GetOrCreate(new("t", 0), TestStorage.TopicId, new LogConfig());
    }

    [Fact]
    public void Logs_go_to_the_directory_with_the_fewest_and_are_found_again()
    {
        using (var manager = Open("a", "b"))
        {
            manager.LoadLogs((_, _) => new LogConfig());
            for (var i = 0; i < 6; i++)
                manager.GetOrCreate(new TopicPartition("t", i), TestStorage.TopicId, new LogConfig());
            Assert.All(manager.Directories, d => Assert.Equal(3, manager.Logs.Count(l => l.Directory == d)));
            var wanted = manager.Directories[1].DirectoryId;
            var log = manager.GetOrCreate(new TopicPartition("u", 0), TestStorage.TopicId, new LogConfig(), wanted);
            Assert.Equal(wanted, log.Directory.DirectoryId);
            log.AppendAsLeader(new(TestStorage.Batch(4)), 0, AppendOptions.Client);
        }

        using var again = Open("a", "b");
        again.LoadLogs((_, id) => id == TestStorage.TopicId ? new LogConfig() : null);
        Assert.Equal(7, again.Logs.Count);
        Assert.True(again.TryGet(new TopicPartition("u", 0), out var found));
        Assert.Equal(4, found.LogEndOffset);
        Assert.True(again.Directories[0].GetSpace().TotalBytes > 0);
    }

    [Fact]
    public void A_deleted_log_frees_its_name_at_once()
    {
        var clock = new ManualClock(1_700_000_000_000);
        using var manager = LogManager.Open(Options("a") with { Time = clock });
        manager.LoadLogs((_, _) => new LogConfig());
        var partition = new TopicPartition("t", 0);
        var log = manager.GetOrCreate(partition, TestStorage.TopicId, new LogConfig { FileDeleteDelayMs = 1000 });
        log.AppendAsLeader(new(TestStorage.Batch(4)), 0, AppendOptions.Client);
        using var records = log.Read(0, 10_000, long.MaxValue, true).Records;
        Assert.True(manager.Delete(partition));
        Assert.False(manager.Delete(partition));
        Assert.Equal(4, TestStorage.RecordsOf(records.ToArray()).Count);
        Assert.Throws<StorageException>(() => log.AppendAsLeader(new(TestStorage.Batch(4)), 0, AppendOptions.Client));
        Assert.Equal(0, manager.GetOrCreate(partition, TestStorage.TopicId, new LogConfig()).LogEndOffset);
        Assert.Single(Directory.GetDirectories(Path.Combine(_root, "a"), "t-0.*-delete"));
        clock.Advance(1000);
        Assert.Empty(Directory.GetDirectories(Path.Combine(_root, "a"), "t-0.*-delete"));
    }

    [Fact]
    public void A_directory_that_belongs_to_no_topic_becomes_stray()
    {
        using (var manager = Open("a"))
        {
            manager.LoadLogs((_, _) => new LogConfig());
            manager.GetOrCreate(new TopicPartition("t", 0), TestStorage.TopicId, new LogConfig());
        }

        using var again = Open("a");
        again.LoadLogs((_, _) => null);
        Assert.Empty(again.Logs);
        Assert.Single(Directory.GetDirectories(Path.Combine(_root, "a"), "t-0.*-stray"));
    }

    [Fact]
    public void One_failed_directory_leaves_the_others_serving()
    {
        File.WriteAllText(Path.Combine(_root, "file"), "");
        using var manager = LogManager.Open(Options("a") with
        {
            LogDirectories = [Path.Combine(_root, "file", "x"), Path.Combine(_root, "a")],
        });
        manager.LoadLogs((_, _) => new LogConfig());
        Assert.True(manager.Directories[0].IsOffline);
        var log = manager.GetOrCreate(new TopicPartition("t", 0), TestStorage.TopicId, new LogConfig());
        Assert.Equal(manager.Directories[1], log.Directory);
        Assert.Throws<LogDirectoryException>(() => LogManager.Open(Options("a") with
        {
            LogDirectories = [Path.Combine(_root, "file", "x")],
        }));
    }

    [Fact]
    public void The_metadata_log_is_no_ordinary_log_and_survives_a_crash()
    {
        using (var manager = Open("a"))
        {
            var log = manager.OpenMetadataLog(new LogConfig());
            var options = new AppendOptions { Origin = AppendOrigin.MetadataLog };
            Assert.True(log.AppendAsLeader(new(TestStorage.Batch(4)), 1, options).IsSuccess);
            log.Flush();
            manager.LoadLogs((_, _) => new LogConfig());
            Assert.Empty(manager.Logs);
            manager.Abandon();
        }

        using var again = Open("a");
        Assert.Equal(4, again.OpenMetadataLog(new LogConfig()).LogEndOffset);
        Assert.True(Directory.Exists(Path.Combine(_root, "a", "__cluster_metadata-0")));
    }

    private LogManagerOptions Options(params string[] names) => new()
    {
        LogDirectories = [.. names.Select(n => Path.Combine(_root, n))],
        NodeId = 1,
        Codecs = TestStorage.Codecs,
        Files = new PhysicalFileSystem(),
        RunInline = true,
    };

    private LogManager Open(params string[] names) => LogManager.Open(Options(names));
}
