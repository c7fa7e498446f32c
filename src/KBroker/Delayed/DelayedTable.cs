using System.Globalization;
using KBroker.Admin;
using KBroker.Protocol.Messages;

namespace KBroker.Delayed;

/// <summary>The list for people: columns, and a sentence for each topic.</summary>
/// <param name="output">Where it goes.</param>
/// <param name="time">The clock.</param>
internal sealed class DelayedTable(TextWriter output, TimeProvider time) : IDelayedOutput
{
    private readonly long _nowMs = time.GetUtcNow().ToUnixTimeMilliseconds();
    private int _width;
    private bool _hasHead;

    /// <inheritdoc/>
    public void Begin(IReadOnlyCollection<string> topics)
    {
        _width = topics.Select(static t => t.Length).Append("TOPIC".Length).Max();
        if (topics.Count == 0)
            output.WriteLine("No topic delays records: kbroker.delay.enable is true nowhere, and none is pending.");
    }

    /// <inheritdoc/>
    public void BeginTopic(DelayedTopic topic)
    {
    }

    /// <inheritdoc/>
    public void Add(DelayedTopic topic, int partition, ListPendingRecordsResponse.PendingEntry entry)
    {
        if (!_hasHead)
            Write("TOPIC", "PARTITION", "OFFSET", "STORED AT", "DUE", "");
        _hasHead = true;
        Write(
            topic.Name,
            Number(partition),
            Number(entry.Offset),
            entry.StoredOffset == entry.Offset ? "" : Number(entry.StoredOffset),
            Instants.Local(entry.DueMs),
            Instants.Away(entry.DueMs, _nowMs));
    }

    /// <inheritdoc/>
    public void EndTopic(DelayedTopic topic, int listed)
    {
        output.Write($"{topic.Name}: {Number(topic.Pending)} pending");
        if (topic.Pending > 0)
        {
            output.Write(
                $", next due {Instants.Local(topic.NextDueMs)} ({Instants.Away(topic.NextDueMs, _nowMs)})");
        }

        if (listed > 0 && listed < topic.Pending)
            output.Write($"; {Number(listed)} listed (--limit)");
        output.WriteLine(topic.IsEnabled ? "" : "; new delays are switched off (kbroker.delay.enable)");
    }

    /// <inheritdoc/>
    public void End()
    {
    }

    private static string Number(long number) => number.ToString(CultureInfo.InvariantCulture);

    private void Write(string topic, string partition, string offset, string stored, string due, string away) =>
        output.WriteLine(
            $"{topic.PadRight(_width)}  {partition,9}  {offset,12}  {stored,12}  {due,-29}  {away}".TrimEnd());
}
