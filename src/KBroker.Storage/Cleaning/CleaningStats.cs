using System.Diagnostics;

namespace KBroker.Storage.Cleaning;

/// <summary>What one cleaning did.</summary>
internal sealed class CleaningStats
{
    private readonly long _started = Stopwatch.GetTimestamp();

    /// <summary>Bytes read to build the offset map.</summary>
    public long MapBytesRead { get; set; }

    /// <summary>Bytes of the segments that were cleaned.</summary>
    public long BytesRead { get; set; }

    /// <summary>Bytes of the segments that took their place.</summary>
    public long BytesWritten { get; set; }

    /// <summary>Records of the segments that were cleaned.</summary>
    public long RecordsRead { get; set; }

    /// <summary>Records that stayed.</summary>
    public long RecordsKept { get; set; }

    /// <summary>Records without a key, which were dropped.</summary>
    public long InvalidRecords { get; set; }

    /// <summary>How full the offset map was, 0 to 1.</summary>
    public double MapUtilization { get; set; }

    /// <summary>Time since the start.</summary>
    public TimeSpan Elapsed => Stopwatch.GetElapsedTime(_started);
}
