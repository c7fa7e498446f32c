using System.Text;
using KBroker.Storage.Checkpoints;
using KBroker.Storage.Files;
using KBroker.Storage.Indexes;
using KBroker.Storage.Producers;

namespace KBroker.Storage.Tests;

/// <summary>The bytes of every small file, pinned.</summary>
public sealed class FileFormatTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("kbroker-formats-").FullName;
    private readonly PhysicalFileSystem _files = new();

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Fact]
    public void Offset_index()
    {
        var path = Path.Combine(_root, "00000000000000000100.index");
        using (var index = new OffsetIndex(_files, path, 100))
        {
            index.Append(129, 6144);
            index.Append(200, 10_000);
            index.Flush();
        }

        Assert.Equal("0000001d00001800" + "0000006400002710", Hex(path));
    }

    [Fact]
    public void Time_index()
    {
        var path = Path.Combine(_root, "00000000000000000100.timeindex");
        using (var index = new TimeIndex(_files, path, 100))
        {
            index.MaybeAppend(new TimeIndexEntry(0x0102030405, 129));
            index.MaybeAppend(new TimeIndexEntry(0x0102030405, 140));
            index.MaybeAppend(new TimeIndexEntry(0x0102030406, 200));
            index.Flush();
        }

        Assert.Equal("00000001020304050000001d" + "000000010203040600000064", Hex(path));
    }

    [Fact]
    public void Transaction_index()
    {
        var path = Path.Combine(_root, "00000000000000000000.txnindex");
        using (var index = new TransactionIndex(_files, path))
        {
            index.Append(new AbortedTransaction(1, 2, 3, 4));
            Assert.Equal([new AbortedTransaction(1, 2, 3, 4)], index.ReadAll());
        }

        Assert.Equal("0000" + "0000000000000001" + "0000000000000002" + "0000000000000003"
            + "0000000000000004", Hex(path));
    }

    [Fact]
    public void Producer_snapshot()
    {
        var entry = new ProducerSnapshotEntry(1000, 2, 9, 41, 3, 1_700_000_000_000, -1, -1);
        var bytes = ProducerSnapshotFile.Encode([entry]);
        Assert.Equal(
            "0001" + "679cc8bd" + "00000001" + "00000000000003e8" + "0002" + "00000009" + "0000000000000029"
                + "00000003"
                + "0000018bcfe56800" + "ffffffff" + "ffffffffffffffff",
            Convert.ToHexStringLower(bytes));
        Assert.Equal([entry], ProducerSnapshotFile.Decode(bytes));
        for (var i = 0; i < bytes.Length; i++)
        {
            bytes[i] ^= 1;
            Assert.Null(ProducerSnapshotFile.Decode(bytes));
            Assert.Null(ProducerSnapshotFile.Decode(bytes.AsSpan(0, i)));
            bytes[i] ^= 1;
        }
    }

    [Fact]
    public void Leader_epoch_checkpoint()
    {
        var cache = new EpochCache(_files, _root);
        cache.Assign(0, 0);
        cache.Assign(3, 120);
        cache.Flush();
        Assert.Equal("0\n2\n0 0\n3 120\n", Text(EpochCache.FileName));
        var again = new EpochCache(_files, _root);
        again.Load();
        Assert.Equal(cache.Entries, again.Entries);
    }

    [Fact]
    public void Leader_epochs_written_while_a_joint_flush_has_them_under_their_temporary_name()
    {
        var cache = new EpochCache(_files, _root);
        cache.Assign(0, 0);
        Assert.True(cache.WriteTemporary());
        // Retention moves the start, and writes the file at once.
        cache.Assign(3, 120);
        cache.TruncateFromStart(130);
        cache.Flush();
        cache.PublishTemporary();
        cache.TemporaryIsStable();
        Assert.Equal("0\n1\n3 130\n", Text(EpochCache.FileName));
        cache.Assign(4, 140);
        Assert.True(cache.WriteTemporary());
        cache.PublishTemporary();
        Assert.Equal("0\n2\n3 130\n4 140\n", Text(EpochCache.FileName));
    }

    [Fact]
    public void Partition_metadata()
    {
        PartitionMetadataFile.Write(_files, _root, TestStorage.TopicId);
        Assert.Equal("version: 0\ntopic_id: AAECAwQFBgcICQoLDA0ODw\n", Text(PartitionMetadataFile.FileName));
        Assert.Equal(TestStorage.TopicId, PartitionMetadataFile.Read(_files, _root));
    }

    [Fact]
    public void Offset_checkpoint()
    {
        var file = new OffsetCheckpointFile(_files, Path.Combine(_root, OffsetCheckpointFile.RecoveryPoint));
        Assert.Empty(file.Read());
        var offsets = new Dictionary<TopicPartition, long> { [new("a", 0)] = 12, [new("b.c", 7)] = 5_000_000_000 };
        file.Write(offsets);
        Assert.Equal("0\n2\na 0 12\nb.c 7 5000000000\n", Text(OffsetCheckpointFile.RecoveryPoint));
        Assert.Equal(offsets, file.Read());
    }

    [Theory]
    [InlineData("1\n0\n")]
    [InlineData("0\n2\na 0 1\n")]
    [InlineData("0\n1\na 0\n")]
    [InlineData("0\n1\na 0 x\n")]
    [InlineData("")]
    public void A_damaged_checkpoint_is_named(string content)
    {
        var path = Path.Combine(_root, "x");
        File.WriteAllText(path, content);
        var error = Assert.Throws<InvalidDataException>(() => new OffsetCheckpointFile(_files, path).Read());
        Assert.Contains(path, error.Message);
    }

    [Fact]
    public void Meta_properties()
    {
        var properties = new MetaProperties("4L6g3nShT-eMCtK--X86sw", 7, TestStorage.TopicId);
        properties.Write(_files, _root);
        Assert.Equal(
            "#\nnode.id=7\ndirectory.id=AAECAwQFBgcICQoLDA0ODw\nversion=1\ncluster.id=4L6g3nShT-eMCtK--X86sw\n",
            Text(MetaProperties.FileName));
        Assert.Equal(properties, MetaProperties.Read(_files, _root));
        File.WriteAllText(
            Path.Combine(_root, MetaProperties.FileName),
            "#\n#Sat Nov 21 10:00:00 UTC 2026\ncluster.id=4L6g3nShT-eMCtK--X86sw\nversion=1\n"
                + "directory.id=AAECAwQFBgcICQoLDA0ODw\nnode.id=7\n");
        Assert.Equal(properties, MetaProperties.Read(_files, _root));
    }

    [Fact]
    public void Clean_shutdown()
    {
        CleanShutdownFile.Write(_files, _root, -1);
        Assert.Equal("{\"version\":0,\"brokerEpoch\":\"-1\"}", Text(CleanShutdownFile.FileName));
        Assert.Equal(-1, CleanShutdownFile.ReadBrokerEpoch(_files, _root));
        CleanShutdownFile.Delete(_files, _root);
        Assert.False(CleanShutdownFile.Exists(_files, _root));
    }

    [Fact]
    public void An_atomic_write_leaves_the_old_or_the_new_content_whatever_fails()
    {
        var path = Path.Combine(_root, "file");
        for (var failing = 0; ; failing++)
        {
            var faulty = new FaultInjectingFileSystem(_files) { TornBytes = 2 };
            File.WriteAllText(path, "old");
            var operation = 0;
            faulty.Fault = (_, _) => operation++ == failing ? new IOException("injected") : null;
            try
            {
                faulty.WriteAtomically(path, "newer");
                Assert.Equal("newer", File.ReadAllText(path));
                Assert.True(failing >= 5);
                return;
            }
            catch (IOException)
            {
                Assert.Contains(File.ReadAllText(path), new[] { "old", "newer" });
            }
        }
    }

    [Fact]
    public void A_directory_name_is_taken_apart_at_the_last_dash()
    {
        Assert.True(TopicPartition.TryParse("a-b-12", out var partition));
        Assert.Equal(new TopicPartition("a-b", 12), partition);
        Assert.Equal("a-b-12", partition.ToString());
        foreach (var name in new[] { "a", "a-", "-1", "a-b", "a--delete", "a-0.abc-delete", "a-99999999999" })
            Assert.False(TopicPartition.TryParse(name, out _), name);
    }

    private static string Hex(string path) => Convert.ToHexStringLower(File.ReadAllBytes(path));

    private string Text(string name) => Encoding.UTF8.GetString(File.ReadAllBytes(Path.Combine(_root, name)));
}
