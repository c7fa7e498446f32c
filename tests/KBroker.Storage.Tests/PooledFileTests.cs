using KBroker.Storage.Files;

namespace KBroker.Storage.Tests;

public sealed class PooledFileTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("kbroker-pool-").FullName;

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Fact]
    public void No_more_files_are_open_than_allowed_and_all_go_on_working()
    {
        var pool = new PooledFileSystem(new PhysicalFileSystem(), 3);
        var files = Create(pool, 10);
        for (var round = 0; round < 3; round++)
        {
            for (var i = 0; i < files.Length; i++)
            {
                files[i].Write([(byte)(round + i)], round);
                files[i].Flush();
                Assert.InRange(pool.OpenCount, 1, 3);
            }
        }

        for (var i = 0; i < files.Length; i++)
            Assert.Equal([(byte)i, (byte)(i + 1), (byte)(i + 2)], Read(files[i], 3));
    }

    [Fact]
    public void What_is_not_on_stable_storage_is_flushed_before_it_is_closed()
    {
        var faulty = new FaultInjectingFileSystem(new PhysicalFileSystem());
        var pool = new PooledFileSystem(faulty, 2);
        var files = Create(pool, 5);
        foreach (var file in files)
            file.Write("abc"u8, 0);
        Assert.InRange(pool.OpenCount, 1, 2);
        Assert.True(faulty.Counts[FileOperation.Flush] >= 3);
    }

    [Fact]
    public void A_flush_that_fails_while_closing_is_told_to_the_next_user()
    {
        var faulty = new FaultInjectingFileSystem(new PhysicalFileSystem());
        var pool = new PooledFileSystem(faulty, 10);
        var file = Create(pool, 1)[0];
        file.Write("abc"u8, 0);
        faulty.Fault = (operation, _) => operation == FileOperation.Flush ? new IOException("no") : null;
        pool.CloseIdle();
        pool.CloseIdle();
        faulty.Fault = null;
        Assert.Contains("no", Assert.Throws<IOException>(() => file.Write("d"u8, 3)).Message);
        Assert.Throws<IOException>(file.Flush);
    }

    [Fact]
    public void A_file_that_nobody_uses_between_two_looks_is_closed()
    {
        var pool = new PooledFileSystem(new PhysicalFileSystem(), 10);
        var files = Create(pool, 3);
        pool.CloseIdle();
        files[1].Write("x"u8, 0);
        files[1].Flush();
        pool.CloseIdle();
        Assert.Equal(1, pool.OpenCount);
        pool.CloseIdle();
        Assert.Equal(0, pool.OpenCount);
        Assert.Equal("x"u8.ToArray(), Read(files[1], 1));
    }

    [Fact]
    public void A_held_file_stays_open_and_is_closed_at_last_when_its_owner_has_gone()
    {
        var pool = new PooledFileSystem(new PhysicalFileSystem(), 1);
        var files = Create(pool, 3);
        files[0].Hold();
        foreach (var file in files)
            file.Write("abc"u8, 0);
        pool.CloseIdle();
        pool.CloseIdle();
        var handle = files[0].Handle;
        Assert.False(handle.IsClosed);
        files[0].Dispose();
        Assert.False(handle.IsClosed);
        Assert.Throws<ObjectDisposedException>(() => files[0].Write("d"u8, 0));
        files[0].Exit();
        Assert.True(handle.IsClosed);
        Assert.Throws<ObjectDisposedException>(() => files[0].Hold());
    }

    [Fact]
    public async Task Many_threads_share_few_descriptors()
    {
        var pool = new PooledFileSystem(new PhysicalFileSystem(), 4);
        var files = Create(pool, 16);
        await Task.WhenAll(Enumerable.Range(0, 8).Select(worker => Task.Run(() =>
        {
            var random = new Random(worker);
            Span<byte> read = stackalloc byte[1];
            for (var i = 0; i < 400; i++)
            {
                // Each byte has one writer, so what it wrote is what it must read.
                var at = random.Next(files.Length);
                var value = (byte)random.Next(256);
                files[at].Write([value], worker);
                Assert.Equal(1, files[at].Read(read, worker));
                Assert.Equal(value, read[0]);
                if (i % 50 == 0)
                    pool.CloseIdle();
            }
        })));
        pool.CloseIdle();
        pool.CloseIdle();
        pool.CloseIdle();
        Assert.Equal(0, pool.OpenCount);
    }

    [Fact]
    public void Thousands_of_logs_work_with_a_handful_of_descriptors()
    {
        using var manager = LogManager.Open(new LogManagerOptions
        {
            LogDirectories = [_root],
            NodeId = 1,
            Codecs = TestStorage.Codecs,
            RunInline = true,
            MaxOpenFiles = 8,
        });
        manager.LoadLogs((_, _) => new LogConfig());
        const int count = 200;
        for (var round = 0; round < 2; round++)
        {
            for (var i = 0; i < count; i++)
            {
                var log = manager.GetOrCreate(new TopicPartition("t", i), TestStorage.TopicId, new LogConfig());
                Assert.True(log.AppendAsLeader(new(TestStorage.Batch(2)), 0, AppendOptions.Client).IsSuccess);
                Assert.InRange(OpenLogFiles(), 0, 12);
            }
        }

        foreach (var log in manager.Logs)
        {
            using var records = log.Read(0, 1 << 20, long.MaxValue, true).Records;
            Assert.Equal([0, 1, 2, 3], TestStorage.RecordsOf(records.ToArray()).Select(r => r.Offset));
        }
    }

    private int OpenLogFiles() =>
        OperatingSystem.IsLinux() ? Directory.GetFiles("/proc/self/fd").Count(IsOurs) : 0;

    private bool IsOurs(string descriptor)
    {
        try
        {
            return File.ResolveLinkTarget(descriptor, false)?.FullName.StartsWith(_root, StringComparison.Ordinal)
                == true;
        }
        catch (IOException)
        {
            // Another test closed it meanwhile.
            return false;
        }
    }

    private static byte[] Read(PooledFile file, int count)
    {
        var bytes = new byte[count];
        Assert.Equal(count, file.Read(bytes, 0));
        return bytes;
    }

    private PooledFile[] Create(PooledFileSystem pool, int count)
    {
        var files = new PooledFile[count];
        for (var i = 0; i < count; i++)
        {
            files[i] = new PooledFile(pool, Path.Combine(_root, $"file-{i}"));
            files[i].Open(FileOpenMode.CreateNew);
        }

        return files;
    }
}
