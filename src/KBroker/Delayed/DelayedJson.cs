using System.Buffers;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using KBroker.Admin;
using KBroker.Protocol.Messages;

namespace KBroker.Delayed;

/// <summary>
/// The list for programs: <c>{"topics":[{"topic","delaysEnabled","pending","nextDueMs","nextDue",
/// "records":[{"partition","offset","storedOffset","dueMs","due"}]}]}</c>.
/// Instants are milliseconds since 1970, and ISO 8601 in UTC.
/// </summary>
/// <param name="output">Where it goes.</param>
internal sealed class DelayedJson(TextWriter output) : IDelayedOutput
{
    private const int PortionBytes = 16 * 1024;
    private readonly ArrayBufferWriter<byte> _buffer = new(2 * PortionBytes);
    private Utf8JsonWriter _json = null!;

    /// <inheritdoc/>
    public void Begin(IReadOnlyCollection<string> topics)
    {
        // Offsets of time zones and the like stay readable: this is no HTML.
        _json = new Utf8JsonWriter(_buffer, new JsonWriterOptions
        {
            Indented = true,
            Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        });
        _json.WriteStartObject();
        _json.WriteStartArray("topics");
    }

    /// <inheritdoc/>
    public void BeginTopic(DelayedTopic topic)
    {
        _json.WriteStartObject();
        _json.WriteString("topic", topic.Name);
        _json.WriteBoolean("delaysEnabled", topic.IsEnabled);
        _json.WriteNumber("pending", topic.Pending);
        if (topic.Pending > 0)
            WriteInstant("nextDue", topic.NextDueMs);
        _json.WriteStartArray("records");
    }

    /// <inheritdoc/>
    public void Add(DelayedTopic topic, int partition, ListPendingRecordsResponse.PendingEntry entry)
    {
        _json.WriteStartObject();
        _json.WriteNumber("partition", partition);
        _json.WriteNumber("offset", entry.Offset);
        _json.WriteNumber("storedOffset", entry.StoredOffset);
        WriteInstant("due", entry.DueMs);
        _json.WriteEndObject();
        if (_json.BytesPending + _buffer.WrittenCount > PortionBytes)
            Flush();
    }

    /// <inheritdoc/>
    public void EndTopic(DelayedTopic topic, int listed)
    {
        _json.WriteEndArray();
        _json.WriteEndObject();
    }

    /// <inheritdoc/>
    public void End()
    {
        _json.WriteEndArray();
        _json.WriteEndObject();
        Flush();
        output.WriteLine();
        _json.Dispose();
    }

    private void WriteInstant(string name, long epochMs)
    {
        _json.WriteNumber($"{name}Ms", epochMs);
        if (Instants.Utc(epochMs) is { } utc)
            _json.WriteString(name, utc);
        else
            _json.WriteNull(name);
    }

    private void Flush()
    {
        _json.Flush();
        output.Write(Encoding.UTF8.GetString(_buffer.WrittenSpan));
        _buffer.ResetWrittenCount();
    }
}
