using KBroker.Crash.PowerCut;
using KBroker.Storage.Files;

namespace KBroker.Crash.Tests;

/// <summary>The power cut leaves what was flushed, and of the rest what a disk may have.</summary>
public sealed class PowerCutTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("kbroker-power-cut-").FullName;
    private PowerCutFileSystem _files;

    public PowerCutTests()
    {
        Directory.CreateDirectory(Disk);
        Cutter(1).Begin();
        _files = new PowerCutFileSystem(new PhysicalFileSystem(), Disk, Record);
    }

    private string Disk => Path.Combine(_directory, "disk");

    private string Record => Path.Combine(_directory, "record");

    [Fact]
    public void What_was_flushed_with_its_name_is_there()
    {
        Write("d/file", "flushed", flush: true);
        FlushNames("d", "");
        Cut(UnflushedFate.Lost);
        Assert.Equal("flushed", Read("d/file"));
    }

    [Fact]
    public void Bytes_behind_the_last_flush_are_lost()
    {
        Write("file", "flushed", flush: true);
        FlushNames("");
        Write("file", "FLUSHED and more", flush: false);
        Assert.Equal("FLUSHED and more", Read("file"));
        Cut(UnflushedFate.Lost);
        Assert.Equal("flushed", Read("file"));
    }

    [Fact]
    public void Bytes_cut_off_come_back_when_the_cut_was_not_flushed()
    {
        Write("file", "flushed", flush: true);
        FlushNames("");
        using (var file = _files.Open(Path.Combine(Disk, "file"), FileOpenMode.Open))
            file.SetLength(3);
        Cut(UnflushedFate.Lost);
        Assert.Equal("flushed", Read("file"));
    }

    [Fact]
    public void A_file_whose_name_was_not_flushed_is_gone()
    {
        Write("file", "flushed", flush: true);
        Cut(UnflushedFate.Lost);
        Assert.False(Exists("file"));
    }

    [Fact]
    public void A_directory_whose_name_was_not_flushed_is_gone_with_all_in_it()
    {
        Write("d/file", "flushed", flush: true);
        FlushNames("d");
        Cut(UnflushedFate.Lost);
        Assert.False(Directory.Exists(Path.Combine(Disk, "d")));
    }

    [Fact]
    public void A_deleted_file_comes_back_with_its_flushed_bytes_when_the_deletion_was_not_flushed()
    {
        Write("file", "flushed", flush: true);
        FlushNames("");
        Write("file", "changed", flush: false);
        _files.DeleteFile(Path.Combine(Disk, "file"));
        Assert.False(Exists("file"));
        Cut(UnflushedFate.Lost);
        Assert.Equal("flushed", Read("file"));
    }

    [Fact]
    public void A_rename_that_was_not_flushed_is_undone_and_the_file_it_replaced_is_back()
    {
        Write("old", "old", flush: true);
        Write("new", "new", flush: true);
        FlushNames("");
        _files.Rename(Path.Combine(Disk, "new"), Path.Combine(Disk, "old"));
        Cut(UnflushedFate.Lost);
        Assert.Equal(("old", "new"), (Read("old"), Read("new")));
    }

    [Fact]
    public void A_rename_that_was_flushed_stays()
    {
        Write("old", "old", flush: true);
        Write("new", "new", flush: true);
        _files.Rename(Path.Combine(Disk, "new"), Path.Combine(Disk, "old"));
        FlushNames("");
        Cut(UnflushedFate.Lost);
        Assert.Equal("new", Read("old"));
        Assert.False(Exists("new"));
    }

    [Fact]
    public void A_renamed_directory_keeps_what_is_in_it()
    {
        Write("d/file", "flushed", flush: true);
        FlushNames("d", "");
        _files.Rename(Path.Combine(Disk, "d"), Path.Combine(Disk, "e"));
        FlushNames("");
        Write("e/file", "flushed again", flush: true);
        Cut(UnflushedFate.Lost);
        Assert.Equal("flushed again", Read("e/file"));
        Assert.False(Directory.Exists(Path.Combine(Disk, "d")));
    }

    [Fact]
    public void Everything_is_there_after_a_flush_of_everything()
    {
        Write("d/file", "flushed", flush: false);
        using (var all = _files.OpenFlushAll(Disk))
        {
            Assert.SkipWhen(all is null, "no flush of everything here");
            all.Flush();
        }

        Write("d/file", "changed", flush: false);
        Cut(UnflushedFate.Lost);
        Assert.Equal("flushed", Read("d/file"));
    }

    [Fact]
    public void A_process_that_was_killed_leaves_what_the_next_one_must_know()
    {
        Write("file", "flushed", flush: true);
        FlushNames("");
        Write("file", "flushed, not", flush: false);
        Write("other", "other", flush: true);
        _files = new PowerCutFileSystem(new PhysicalFileSystem(), Disk, Record);
        Assert.Equal("flushed, not", Read("file"));
        Write("third", "third", flush: false);
        Cut(UnflushedFate.Lost);
        Assert.Equal("flushed", Read("file"));
        Assert.False(Exists("other"));
    }

    [Fact]
    public void A_line_whose_operation_the_killed_process_did_not_do_counts_for_nothing()
    {
        Write("file", "flushed", flush: true);
        FlushNames("");
        // As if it had died between the line and the deletion.
        var node = NameOperation.ReadLog(StableStorage.LogFile(Record)).Single(o => o.Name == "file").Node;
        File.AppendAllText(
            StableStorage.LogFile(Record), new NameOperation('D', 0, -1, node, "file", "").ToString() + "D\t0\t-");
        _files = new PowerCutFileSystem(new PhysicalFileSystem(), Disk, Record);
        FlushNames("");
        Cut(UnflushedFate.Lost);
        Assert.Equal("flushed", Read("file"));
    }

    [Fact]
    public void Nothing_that_was_flushed_is_ever_missing_and_everything_else_may_be()
    {
        var (lost, kept) = (0, 0);
        for (var seed = 0; seed < 60; seed++)
        {
            var directory = $"d{seed}";
            Write($"{directory}/a", "flushed", flush: true);
            FlushNames(directory, "");
            Write($"{directory}/a", "flushed" + new string('x', 3000), flush: false);
            Write($"{directory}/b", "new", flush: false);
            Cutter(seed).Cut(UnflushedFate.Mixed, Disk + ".before");
            Assert.StartsWith("flushed", Read($"{directory}/a"), StringComparison.Ordinal);
            if (Exists($"{directory}/b"))
                kept++;
            else
                lost++;
            Cutter(seed).Begin();
            _files = new PowerCutFileSystem(new PhysicalFileSystem(), Disk, Record);
        }

        Assert.True(lost > 5 && kept > 5, $"lost {lost}, kept {kept}");
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private PowerCutDisk Cutter(int seed) => new(Disk, Record, new Random(seed));

    private void Cut(UnflushedFate fate) => Cutter(1).Cut(fate, Disk + ".before");

    private void Write(string name, string text, bool flush)
    {
        var path = Path.Combine(Disk, name);
        _files.CreateDirectory(Path.GetDirectoryName(path)!);
        using var file = _files.Open(path, FileOpenMode.OpenOrCreate);
        file.Write(System.Text.Encoding.UTF8.GetBytes(text), 0);
        if (flush)
            file.Flush();
    }

    private void FlushNames(params string[] directories)
    {
        foreach (var directory in directories)
            _files.FlushDirectory(Path.Combine(Disk, directory).TrimEnd('/'));
    }

    private string Read(string name) => File.ReadAllText(Path.Combine(Disk, name));

    private bool Exists(string name) => File.Exists(Path.Combine(Disk, name));
}
