using System.Globalization;

namespace KBroker.Storm.History;

/// <summary>What happened to a member.</summary>
internal enum EventKind
{
    /// <summary>Partitions were given to it, in the generation that the event names.</summary>
    Assigned,

    /// <summary>It gave partitions back; it has stopped working on them.</summary>
    Revoked,

    /// <summary>
    /// It learned that it had been thrown out, and its partitions may be somebody else's for some time already.
    /// </summary>
    Lost,

    /// <summary>It worked on the records of the spans.</summary>
    Processed,

    /// <summary>The coordinator acknowledged a commit; <see cref="Span.To"/> is the offset.</summary>
    Committed,

    /// <summary>The coordinator refused a commit.</summary>
    Refused,

    /// <summary>It closed its client in good order.</summary>
    Left,

    /// <summary>Its process was killed by SIGKILL.</summary>
    Killed,

    /// <summary>Its client gave up with a fatal error.</summary>
    Failed,
}

/// <summary>Offsets of a partition.</summary>
/// <param name="Topic">The topic; it has neither blanks nor slashes in its name.</param>
/// <param name="Partition">The partition.</param>
/// <param name="From">The first offset; -1 where it means nothing.</param>
/// <param name="To">The offset after the last.</param>
internal readonly record struct Span(string Topic, int Partition, long From, long To);

/// <summary>One line of the history of a group.</summary>
/// <param name="Begin">Ticks of the monotonic clock, which the processes of a machine share: when it began.</param>
/// <param name="End">When it was done: for a commit the acknowledgement.</param>
/// <param name="Member">The member's name, used once.</param>
/// <param name="Kind">What happened.</param>
/// <param name="Generation">The generation or member epoch then; -1 where it means nothing.</param>
/// <param name="Spans">The partitions it is about.</param>
/// <param name="Note">The error, in one word.</param>
internal sealed record GroupEvent(
    long Begin, long End, string Member, EventKind Kind, int Generation, IReadOnlyList<Span> Spans, string Note = "-")
{
    /// <summary>
    /// The event as one line, which <see cref="Parse"/> reads; a dot ends it, so that a torn one is known.
    /// </summary>
    public override string ToString()
    {
        var spans = Spans.Select(static s => Line($"{s.Topic}/{s.Partition}/{s.From}/{s.To}"));
        return string.Join(' ', [Line($"{Begin} {End} {Member} {Kind} {Generation} {Note}"), .. spans, "."]);

        static string Line(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
    }

    /// <summary>The event of a line.</summary>
    /// <exception cref="FormatException">It is not one.</exception>
    public static GroupEvent Parse(string line)
    {
        var words = line.Split(' ');
        if (words.Length < 7 || words[^1] != "." || !Enum.TryParse<EventKind>(words[3], out var kind))
            throw new FormatException($"not an event: {line}");
        return new GroupEvent(
            Number(words[0]), Number(words[1]), words[2], kind, (int)Number(words[4]),
            [.. words[6..^1].Select(ParseSpan)], words[5]);
    }

    private static Span ParseSpan(string word)
    {
        var parts = word.Split('/');
        if (parts.Length != 4)
            throw new FormatException($"not a span: {word}");
        return new Span(parts[0], (int)Number(parts[1]), Number(parts[2]), Number(parts[3]));
    }

    private static long Number(string text) => long.Parse(text, CultureInfo.InvariantCulture);
}
