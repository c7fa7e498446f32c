using KBroker.Crash.History;

namespace KBroker.Crash.Load;

/// <summary>Clients that work on a broker which dies and comes back, and know what it has promised them.</summary>
internal interface ICrashLoad : IDisposable
{
    /// <summary>Records, or transactions, acknowledged so far.</summary>
    long Acked { get; }

    /// <summary>What was done and found, for the end of a run.</summary>
    IReadOnlyDictionary<string, long> Counts { get; }

    /// <summary>A topic whose last batch may be torn.</summary>
    string TornTopic { get; }

    /// <summary>The broker has died.</summary>
    void BrokerDied(bool powerCut);

    /// <summary>Compares everything in the broker, which runs, with what is known.</summary>
    /// <returns>The partitions that have problems.</returns>
    List<PartitionHistory> Check();

    /// <summary>Goes on behind a check.</summary>
    void Resume();

    /// <summary>Waits until each client has an acknowledgement of this life of the broker.</summary>
    /// <returns>What does not go on, when the broker lives and it takes too long.</returns>
    string? WaitForProgress();

    /// <summary>Ends the clients: everything is acknowledged, compared, and deleted. The broker runs.</summary>
    /// <returns>The partitions that have problems.</returns>
    List<PartitionHistory> Finish();

    /// <summary>What came and went, for whoever looks for a bug.</summary>
    string Describe();
}
