using KBroker.Storage.Files;
using KBroker.Storage.Indexes;

namespace KBroker.Storage.Tests;

public sealed class SparseIndexTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("kbroker-index-").FullName;

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(17)]
    [InlineData(512)]
    [InlineData(513)]
    [InlineData(5000)]
    public void Lookups_agree_with_a_list_in_memory_and_after_reopening(int count)
    {
        var path = Path.Combine(_root, "i.index");
        var entries = Enumerable.Range(0, count).Select(i => new OffsetPosition(1000 + (i * 3) + 2, i * 100)).ToList();
        using (var index = new OffsetIndex(new PhysicalFileSystem(), path, 1000))
        {
            foreach (var entry in entries)
                index.Append(entry.Offset, entry.Position);
            Check(index, entries);
            index.WriteOut();
        }

        Assert.Equal(count * 8, new FileInfo(path).Length);
        using var again = new OffsetIndex(new PhysicalFileSystem(), path, 1000);
        Check(again, entries);
        again.Append(100_000, 1);
        Assert.Equal(count + 1, again.Count);
        Assert.Equal(new OffsetPosition(100_000, 1), again.Last);
    }

    [Fact]
    public void Truncation_keeps_what_lies_below()
    {
        var path = Path.Combine(_root, "t.index");
        using var index = new OffsetIndex(new PhysicalFileSystem(), path, 0);
        using var times = new TimeIndex(new PhysicalFileSystem(), path + ".time", 0);
        for (var i = 1; i <= 1500; i++)
        {
            index.Append(i * 2, i);
            times.MaybeAppend(new TimeIndexEntry(i * 10, i * 2));
        }

        foreach (var cut in new[] { 2900, 2001, 1025, 1024, 1023, 3, 2, 0 })
        {
            index.TruncateTo(cut);
            times.TruncateTo(cut);
            var expected = Math.Max(0, (cut - 1) / 2);
            Assert.Equal((expected, expected), (index.Count, times.Count));
            Assert.Equal(expected == 0 ? 0 : expected * 2, index.Last.Offset);
            Assert.Equal(expected == 0 ? -1 : expected * 10, times.Last.Timestamp);
        }
    }

    [Fact]
    public void A_torn_last_entry_is_left_out_and_written_over()
    {
        var path = Path.Combine(_root, "torn.index");
        File.WriteAllBytes(path, [0, 0, 0, 5, 0, 0, 0, 9, 1, 2, 3]);
        using var index = new OffsetIndex(new PhysicalFileSystem(), path, 0);
        Assert.Equal(1, index.Count);
        index.Append(8, 77);
        index.WriteOut();
        Assert.Equal("00000005000000090000000800" + "00004d", Convert.ToHexStringLower(File.ReadAllBytes(path)));
    }

    private static void Check(OffsetIndex index, List<OffsetPosition> entries)
    {
        Assert.Equal(entries.Count, index.Count);
        for (var offset = 999L; offset < 1000 + (entries.Count * 3) + 5; offset++)
        {
            var expected = entries.LastOrDefault(e => e.Offset <= offset, new OffsetPosition(1000, 0));
            if (entries.Count < 1000 || offset % 37 == 0)
                Assert.Equal(expected, index.Lookup(offset));
        }
    }
}
