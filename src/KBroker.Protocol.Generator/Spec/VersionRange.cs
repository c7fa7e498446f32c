using System;
using System.Globalization;

namespace KBroker.Protocol.Generator.Spec;

/// <summary>
/// An inclusive range of message versions; <see cref="Highest"/> is <see cref="Unbounded"/> when written as <c>n+</c>.
/// </summary>
internal readonly struct VersionRange : IEquatable<VersionRange>
{
    /// <summary>The upper end of an open range such as <c>3+</c>.</summary>
    public const int Unbounded = short.MaxValue;

    /// <summary>A range that contains no version.</summary>
    public static readonly VersionRange None = new(Unbounded, -1);

    /// <summary>Creates a range from its two inclusive ends.</summary>
    public VersionRange(int lowest, int highest)
    {
        Lowest = lowest;
        Highest = highest;
    }

    /// <summary>The first version of the range.</summary>
    public int Lowest { get; }

    /// <summary>The last version of the range.</summary>
    public int Highest { get; }

    /// <summary>True when no version is in the range.</summary>
    public bool IsEmpty => Lowest > Highest;

    /// <summary>Whether every version of <paramref name="other"/> is in this range.</summary>
    public bool Contains(VersionRange other) => other.IsEmpty || (Lowest <= other.Lowest && other.Highest <= Highest);

    /// <summary>Whether <paramref name="version"/> is in this range.</summary>
    public bool Contains(int version) => Lowest <= version && version <= Highest;

    /// <summary>The versions in both ranges.</summary>
    public VersionRange Intersect(VersionRange other) =>
        new(Math.Max(Lowest, other.Lowest), Math.Min(Highest, other.Highest));

    /// <summary>Reads <c>n</c>, <c>n+</c>, <c>n-m</c>.</summary>
    public static bool TryParse(string text, out VersionRange range)
    {
        range = None;
        if (text.EndsWith("+", StringComparison.Ordinal))
        {
            if (!TryNumber(text.Substring(0, text.Length - 1), out int from)) return false;
            range = new VersionRange(from, Unbounded);
            return true;
        }

        int dash = text.IndexOf('-');
        if (dash < 0)
        {
            if (!TryNumber(text, out int only)) return false;
            range = new VersionRange(only, only);
            return true;
        }

        if (!TryNumber(text.Substring(0, dash), out int low) || !TryNumber(text.Substring(dash + 1), out int high))
            return false;
        range = new VersionRange(low, high);
        return low <= high;
    }

    /// <inheritdoc/>
    public bool Equals(VersionRange other) => Lowest == other.Lowest && Highest == other.Highest;

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is VersionRange other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode() => (Lowest << 16) ^ Highest;

    /// <inheritdoc/>
    public override string ToString()
    {
        if (IsEmpty) return "none";
        if (Highest == Unbounded) return Lowest.ToString(CultureInfo.InvariantCulture) + "+";
        return Lowest == Highest
            ? Lowest.ToString(CultureInfo.InvariantCulture)
            : Lowest.ToString(CultureInfo.InvariantCulture) + "-" + Highest.ToString(CultureInfo.InvariantCulture);
    }

    private static bool TryNumber(string text, out int value) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out value) && value < Unbounded;
}
