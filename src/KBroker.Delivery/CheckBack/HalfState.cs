namespace KBroker.Delivery.CheckBack;

/// <summary>
/// What the broker notes of a half message, in hidden records of its partition: <c>kbroker-half-state</c>. The names
/// are in the log, and so must stay.
/// </summary>
internal static class HalfState
{
    /// <summary>Its group was asked; <c>kbroker-half-checks</c> says how often by now.</summary>
    public static ReadOnlySpan<byte> Checked => "checked"u8;

    /// <summary>It is given up: decisions behind this come too late. In a carried half message it says that it was
    /// given up before.</summary>
    public static ReadOnlySpan<byte> Expiring => "expiring"u8;

    /// <summary>It lies in the topic of the expired ones.</summary>
    public static ReadOnlySpan<byte> Expired => "expired"u8;
}
