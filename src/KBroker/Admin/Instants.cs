using System.Globalization;

namespace KBroker.Admin;

/// <summary>How commands show instants and spans.</summary>
internal static class Instants
{
    // The last millisecond of the year 9999.
    private const long LastMs = 253_402_300_799_999;

    /// <summary>An instant in local time, ISO 8601 with milliseconds and offset.</summary>
    /// <param name="epochMs">Milliseconds since 1970; what is no year of four digits is shown as that number.</param>
    public static string Local(long epochMs) => epochMs is >= 0 and <= LastMs
        ? TimeZoneInfo.ConvertTime(DateTimeOffset.FromUnixTimeMilliseconds(epochMs), TimeZoneInfo.Local)
            .ToString("yyyy-MM-dd'T'HH:mm:ss.fffzzz", CultureInfo.InvariantCulture)
        : epochMs.ToString(CultureInfo.InvariantCulture);

    /// <summary>The same in UTC, for programs; null for what is no year of four digits.</summary>
    public static string? Utc(long epochMs) => epochMs is >= 0 and <= LastMs
        ? DateTimeOffset.FromUnixTimeMilliseconds(epochMs)
            .ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture)
        : null;

    /// <summary>How far away an instant is: <c>in 3m 20s</c>, or <c>5s late</c>.</summary>
    public static string Away(long epochMs, long nowMs)
    {
        var distance = epochMs - (decimal)nowMs;
        return distance >= 0 ? $"in {Span(distance)}" : $"{Span(-distance)} late";
    }

    /// <summary>The two largest units of a span; milliseconds below a second.</summary>
    private static string Span(decimal ms)
    {
        if (ms < 1000)
            return string.Create(CultureInfo.InvariantCulture, $"{ms}ms");
        Span<decimal> lengths = [86_400_000, 3_600_000, 60_000, 1000];
        const string Units = "dhms";
        for (var i = 0; i < lengths.Length - 1; i++)
        {
            if (ms < lengths[i])
                continue;
            var large = Math.Floor(ms / lengths[i]);
            var small = Math.Floor((ms - (large * lengths[i])) / lengths[i + 1]);
            return small == 0
                ? string.Create(CultureInfo.InvariantCulture, $"{large}{Units[i]}")
                : string.Create(CultureInfo.InvariantCulture, $"{large}{Units[i]} {small}{Units[i + 1]}");
        }

        return string.Create(CultureInfo.InvariantCulture, $"{Math.Floor(ms / 1000)}s");
    }
}
