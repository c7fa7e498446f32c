using System.Buffers;
using KBroker.Protocol.Records;
using Record = KBroker.Protocol.Records.Record;

namespace KBroker.Protocol.Tests.Records;

/// <summary>Records as text, one a line, to compare with what other readers saw.</summary>
internal static class RecordText
{
    public static string Of(in ReadOnlySequence<byte> batch, CompressionCodecs codecs, int maxBytes)
    {
        using var reader = new RecordBatchReader(batch, codecs, maxBytes);
        var lines = new List<string>();
        while (reader.TryRead(out var record))
            lines.Add(Of(record));
        return string.Join('\n', lines);
    }

    public static string Of(in Record record)
    {
        var headers = new List<(string, string?)>();
        foreach (var header in record.Headers)
            headers.Add((header.Key, Hex(header.Value)));
        Assert.Equal(record.Headers.Count, headers.Count);
        return Of(record.Offset, record.Timestamp, record.Sequence, Hex(record.Key), Hex(record.Value), headers);
    }

    public static string Of(
        long offset, long timestamp, int sequence, string? key, string? value,
        IEnumerable<(string, string?)> headers) =>
        $"{offset} {timestamp} {sequence} {key ?? "null"} {value ?? "null"} "
        + string.Join(' ', headers.Select(header => $"[{header.Item1}]={header.Item2 ?? "null"}"));

    private static string? Hex(ReadOnlyMemory<byte>? bytes) =>
        bytes is { } value ? Convert.ToHexStringLower(value.Span) : null;
}
