using System.Buffers;
using System.Text.Json;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Tests.Support;

namespace KBroker.Protocol.Tests.Messages;

/// <summary>Every vector is read, means what its JSON says, and is written to the same bytes again.</summary>
public sealed class VectorTests
{
    private const string MessageColumns = "message\tversion\thex\tjson";
    private const string TagColumns = MessageColumns + "\ttags";
    private const string FrameColumns = "kind\tapiKey\tapiName\tversion\theaderVersion\thex\theaderJson\tbodyJson";
    private const string BatchColumns = "name\thex\tjson";

    /// <summary>The vector files found.</summary>
    public static TheoryData<string> Files() => VectorFiles.Names();

    [Theory]
    [MemberData(nameof(Files))]
    public void Every_vector_of_a_file_is_read_and_written_as_it_should_be(string file)
    {
        Action<Dictionary<string, string>>? check = VectorFiles.Header(file) switch
        {
            MessageColumns or TagColumns => CheckMessage,
            FrameColumns => CheckFrame,
            BatchColumns => null,
            var other => throw new InvalidOperationException($"{file} has columns no test knows: {other}"),
        };
        if (check is null) return;
        var failures = new List<string>();
        int count = 0;
        foreach (var row in VectorFiles.Rows(file))
        {
            count++;
            try
            {
                check(row);
            }
            catch (Exception failure)
            {
                failures.Add($"{file}:{count + 1} {row.GetValueOrDefault("message")}"
                    + $"{row.GetValueOrDefault("apiName")} v{row["version"]}: {failure.Message}");
            }
        }

        Assert.True(count > 0, "no vectors");
        Assert.True(failures.Count == 0,
            $"{failures.Count} of {count} failed:\n{string.Join("\n", failures.Take(20))}");
    }

    private static void CheckMessage(Dictionary<string, string> row)
    {
        string name = row["message"];
        short version = short.Parse(row["version"]);
        byte[] bytes = Convert.FromHexString(row["hex"]);
        var message = Read(name, version, new ReadOnlySequence<byte>(bytes));
        CheckBody(message, version, row["json"]);
        Assert.Equal(row["hex"], Hex(message, version));
        if (row.TryGetValue("tags", out string? tags)) Assert.Equal(tags, RenderTags(message));

        // The same bytes in pieces of every small size, as they arrive from a socket.
        foreach (int size in new[] { 1, 2, 3, 7, 13 })
            Assert.Equal(row["hex"], Hex(Read(name, version, Pieces.Split(bytes, size)), version));
    }

    private static void CheckFrame(Dictionary<string, string> row)
    {
        byte[] bytes = Convert.FromHexString(row["hex"]);
        var key = (ApiKey)short.Parse(row["apiKey"]);
        short version = short.Parse(row["version"]);
        short headerVersion = short.Parse(row["headerVersion"]);
        var api = ApiCatalog.Get(key);
        Assert.Equal(row["apiName"], api.Name);
        var reader = new ProtocolReader(bytes);
        Assert.Equal(bytes.Length - 4, reader.ReadInt32());
        IMessage header;
        IMessage body;
        if (row["kind"] == "request")
        {
            Assert.Equal(headerVersion, api.RequestHeaderVersion(version));
            header = RequestHeader.Read(ref reader, headerVersion);
            Assert.Equal((short)key, ((RequestHeader)header).RequestApiKey);
            body = MessageReader.ReadRequest(key, version, ref reader);
        }
        else
        {
            Assert.Equal(headerVersion, api.ResponseHeaderVersion(version));
            header = ResponseHeader.Read(ref reader, headerVersion);
            body = MessageReader.ReadResponse(key, version, ref reader);
        }

        reader.EnsureEnd();
        CheckBody(header, headerVersion, row["headerJson"]);
        CheckBody(body, version, row["bodyJson"]);
        using var writer = new ProtocolWriter();
        var size = writer.Reserve();
        header.Write(writer, headerVersion);
        body.Write(writer, version);
        ProtocolWriter.PatchInt32(size, (int)writer.TotalBytes - 4);
        Assert.Equal(row["hex"], Convert.ToHexStringLower(writer.ToArray()));
    }

    private static void CheckBody(IMessage message, short version, string json)
    {
        using var expected = JsonDocument.Parse(json);
        var actual = MessageJson.Render(message, Specs.All[message.GetType().Name], version);
        string? difference = MessageJson.Difference(expected.RootElement, actual);
        Assert.True(difference is null, difference);
    }

    private static IMessage Read(string name, short version, ReadOnlySequence<byte> bytes)
    {
        var reader = new ProtocolReader(bytes);
        var message = Specs.ReaderOf(name)(ref reader, version);
        reader.EnsureEnd();
        return message;
    }

    private static string Hex(IMessage message, short version)
    {
        using var writer = new ProtocolWriter();
        message.Write(writer, version);
        byte[] bytes = writer.ToArray();
        Assert.Equal(bytes.Length, writer.TotalBytes);
        return Convert.ToHexStringLower(bytes);
    }

    private static string RenderTags(IMessage message)
    {
        var fields = (List<UnknownTaggedField>?)message.GetType().GetProperty("UnknownTaggedFields")!.GetValue(message);
        return string.Join(",", (fields ?? []).Select(f => $"{f.Tag}:{Convert.ToHexStringLower(f.Data.Span)}"));
    }
}
