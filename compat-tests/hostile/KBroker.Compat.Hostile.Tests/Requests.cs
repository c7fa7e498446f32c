using KBroker.Compat.Harness;

namespace KBroker.Compat.Hostile.Tests;

/// <summary>Valid requests, made by hand; the tests cut and spoil them.</summary>
internal static class Requests
{
    public const string Topic = "target";

    /// <summary>One valid request of each kind, by name.</summary>
    public static IReadOnlyList<(string Name, byte[] Frame)> All { get; } =
    [
        ("ApiVersions 3", RawConnection.Frame(18, 3, [0, 2, (byte)'x', 2, (byte)'1', 0])),
        ("Metadata 1", RawConnection.Frame(3, 1, new Body().Int32(1).Text(Topic).ToArray())),
        ("Metadata 12", RawConnection.Frame(3, 12, [0, 2, .. new byte[16], 7, .. "target"u8, 0, 0, 0, 0])),
        ("Produce 3", Produce(Batch.Of(10, 20))),
        ("Fetch 4", Fetch(0, 65536)),
        ("ListOffsets 1", RawConnection.Frame(2, 1,
            new Body().Int32(-1).Int32(1).Text(Topic).Int32(1).Int32(0).Int64(-1).ToArray())),
        ("CreateTopics 2", RawConnection.Frame(19, 2,
            new Body().Int32(1).Text("made-by-a-test").Int32(1).Int16(1).Int32(0).Int32(0).Int32(5000).Int8(1)
                .ToArray())),
        ("DeleteTopics 1", RawConnection.Frame(20, 1, new Body().Int32(1).Text("never-there").Int32(5000).ToArray())),
        ("DescribeConfigs 1", RawConnection.Frame(32, 1,
            new Body().Int32(1).Int8(2).Text(Topic).Int32(-1).Int8(0).ToArray())),
        ("InitProducerId 0", RawConnection.Frame(22, 0, new Body().Int16(-1).Int32(60000).ToArray())),
    ];

    public static byte[] Produce(byte[] records, int correlationId = 1) => RawConnection.Frame(0, 3, new Body()
        .Int16(-1).Int16(1).Int32(5000).Int32(1).Text(Topic).Int32(1).Int32(0).Int32(records.Length).Raw(records)
        .ToArray(), correlationId);

    public static byte[] Fetch(long offset, int maxBytes, int correlationId = 1) => RawConnection.Frame(1, 4, new Body()
        .Int32(-1).Int32(0).Int32(1).Int32(maxBytes).Int8(0).Int32(1).Text(Topic).Int32(1)
        .Int32(0).Int64(offset).Int32(maxBytes).ToArray(), correlationId);

    public static byte[] ApiVersions(int correlationId) => RawConnection.Frame(18, 0, [], correlationId);
}
