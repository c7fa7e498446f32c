namespace KBroker.Delivery.CheckBack;

/// <summary>A half message that nobody has decided on.</summary>
/// <remarks>Times with "At" are of the monotonic clock: a check is due after a time, whoever sets the wall clock.
/// </remarks>
internal readonly record struct OpenHalf
{
    /// <summary>The offset that the producer was told: its identity.</summary>
    public required long Origin { get; init; }

    /// <summary>The offset where its bytes lie: the origin, or where it was carried to.</summary>
    public required long Location { get; init; }

    /// <summary>When it is to be delivered once it is committed, epoch ms; 0 for at once.</summary>
    public long DueMs { get; init; }

    /// <summary>When it came, ms of the monotonic clock.</summary>
    public long OpenedAt { get; init; }

    /// <summary>When its group is asked next, or its giving up goes on, ms of the monotonic clock;
    /// <see cref="long.MaxValue"/> while somebody works on it.</summary>
    public long NextAt { get; init; }

    /// <summary>Checks that were sent.</summary>
    public int Checks { get; init; }

    /// <summary>Whether it was given up, and is only to be moved to the topic of the expired ones yet.</summary>
    public bool IsExpiring { get; init; }
}
