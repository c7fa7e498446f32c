using System.Text.Encodings.Web;
using System.Text.Json;
using KBroker.Protocol.Tests.Support;

namespace KBroker.Protocol.Tests.Messages;

/// <summary>
/// The committed selection of vectors: our own writer's output for a fixed seed, so that a machine without the shared
/// vectors still notices a change of the wire form. KBROKER_WRITE_SELECTION names a file to write it anew.
/// </summary>
public sealed class SelectionTests
{
    private static readonly string[] Chosen =
    [
        "ApiVersionsRequest", "ApiVersionsResponse", "ProduceRequest", "ProduceResponse", "FetchRequest",
        "FetchResponse", "MetadataRequest", "MetadataResponse", "ListOffsetsResponse", "CreateTopicsRequest",
        "JoinGroupResponse", "OffsetFetchRequest", "DescribeClientQuotasResponse", "RequestHeader", "ResponseHeader",
        "TopicRecord", "PartitionRecord", "PartitionChangeRecord", "GroupMetadataValue", "OffsetCommitValue",
        "TransactionLogValue", "ConsumerGroupMemberMetadataValue", "LeaderChangeMessage",
    ];

    [Fact]
    public void The_selection_is_what_the_writer_writes()
    {
        var options = new JsonSerializerOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
        var lines = new List<string> { "message\tversion\thex\tjson" };
        var random = new Random(20);
        foreach (string name in Chosen)
        {
            var spec = Specs.All[name];
            for (int version = spec.Versions.Lowest; version <= spec.Versions.Highest; version += 3)
            {
                var message = new MessageFiller(random).Create(spec, (short)version);
                using var writer = new ProtocolWriter();
                message.Write(writer, (short)version);
                string json = MessageJson.Render(message, spec, (short)version).ToJsonString(options);
                lines.Add($"{name}\t{version}\t{Convert.ToHexStringLower(writer.ToArray())}\t{json}");
            }
        }

        string? target = Environment.GetEnvironmentVariable("KBROKER_WRITE_SELECTION");
        if (target is not null) File.WriteAllText(target, string.Join("\n", lines) + "\n");
        string committed = Path.Combine(AppContext.BaseDirectory, "Vectors", "selection.tsv");
        Assert.Equal(File.ReadAllLines(committed), lines);
    }
}
