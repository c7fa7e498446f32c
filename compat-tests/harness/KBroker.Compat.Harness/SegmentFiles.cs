using System.Buffers.Binary;

namespace KBroker.Compat.Harness;

/// <summary>A glance into a partition's files, without the code under test: which codecs its batches have.</summary>
public static class SegmentFiles
{
    /// <summary>The codec numbers (0 none .. 4 zstd) of all batches of a partition, each once, ascending.</summary>
    /// <param name="dataDirectory">The broker's log directory.</param>
    /// <param name="topic">The topic.</param>
    /// <param name="partition">The partition.</param>
    public static int[] Codecs(string dataDirectory, string topic, int partition)
    {
        var codecs = new SortedSet<int>();
        foreach (var file in Directory.GetFiles(Path.Combine(dataDirectory, $"{topic}-{partition}"), "*.log"))
        {
            var data = ReadShared(file);
            for (var at = 0; at + 61 <= data.Length;)
            {
                var length = BinaryPrimitives.ReadInt32BigEndian(data.AsSpan(at + 8));
                if (length <= 0)
                    break;
                codecs.Add(BinaryPrimitives.ReadInt16BigEndian(data.AsSpan(at + 21)) & 7);
                at += 12 + length;
            }
        }

        return [.. codecs];
    }

    private static byte[] ReadShared(string file)
    {
        using var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        var data = new byte[stream.Length];
        stream.ReadExactly(data);
        return data;
    }
}
