using System.Buffers;

namespace KBroker.Protocol.Tests.Records;

/// <summary>The record batches that Kafka's own classes wrote.</summary>
/// <remarks>
/// From the folder that KBROKER_VECTORS names, else from shared/protocol/vectors beside one of the folders above, else
/// the small selection committed with the tests.
/// </remarks>
internal static class BatchVectors
{
    private const string FileName = "batches.tsv";

    private static readonly Dictionary<string, string[]> Lines =
        File.ReadLines(Path.Combine(Folder(), FileName)).Skip(1)
            .Select(line => line.Split('\t'))
            .ToDictionary(cells => cells[0]);

    public static byte[] Get(string name) => Convert.FromHexString(Lines[name][1]);

    public static string Json(string name) => Lines[name][2];

    public static TheoryData<string> Names(Func<string, bool> predicate) => [.. Lines.Keys.Where(predicate)];

    /// <summary>The same bytes in segments of the given sizes, in turn.</summary>
    public static ReadOnlySequence<byte> Fragment(ReadOnlyMemory<byte> bytes, params int[] sizes)
    {
        var first = new Segment(ReadOnlyMemory<byte>.Empty, 0);
        var last = first;
        for (int position = 0, i = 0; position < bytes.Length; i++)
        {
            var size = Math.Min(sizes[i % sizes.Length], bytes.Length - position);
            last = last.Append(bytes.Slice(position, size));
            position += size;
        }

        return new ReadOnlySequence<byte>(first, 0, last, last.Memory.Length);
    }

    private static string Folder()
    {
        var named = Environment.GetEnvironmentVariable("KBROKER_VECTORS");
        if (!string.IsNullOrEmpty(named))
            return named;
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            var shared = Path.Combine(folder.FullName, "shared", "protocol", "vectors");
            if (File.Exists(Path.Combine(shared, FileName)))
                return shared;
        }

        return Path.Combine(AppContext.BaseDirectory, "Vectors");
    }

    private sealed class Segment : ReadOnlySequenceSegment<byte>
    {
        public Segment(ReadOnlyMemory<byte> memory, long runningIndex)
        {
            Memory = memory;
            RunningIndex = runningIndex;
        }

        public Segment Append(ReadOnlyMemory<byte> memory)
        {
            var next = new Segment(memory, RunningIndex + Memory.Length);
            Next = next;
            return next;
        }
    }
}
