using KBroker.Crash.History;
using KBroker.Crash.Transactions;

namespace KBroker.Crash.Delays;

/// <summary>What is known of one partition, of which everything was read.</summary>
/// <param name="Place">Which.</param>
/// <param name="Records">All that was ever visible in it, in order.</param>
/// <param name="Markers">All ends of transactions in it, in order.</param>
/// <param name="HasGap">Whether something was deleted before it was read.</param>
internal sealed record DelayPartition(
    Place Place, IReadOnlyList<DelayFound> Records, IReadOnlyList<DelayMarker> Markers, bool HasGap);

/// <summary>
/// Compares what was visible, while every producer rests with all it sent answered or given up, with what was sent.
/// Every rule is a function of its own. The order of the log decides: a delivery before its cancel holds, one behind it must
/// not be.
/// </summary>
internal sealed class DelayCheck
{
    private const int MostProblems = 20;
    private readonly List<string> _problems = [];
    private readonly IReadOnlyList<DelayPartition> _partitions;
    private readonly long _nowMs;
    private readonly Dictionary<RecordId, DelaySent> _sent;
    private readonly Dictionary<Place, Dictionary<long, List<DelayMarker>>> _markers;
    private readonly Dictionary<Place, ILookup<RecordId, DelayFound>> _found;
    private readonly ILookup<DelaySent, DelaySent> _cancels;

    /// <summary>Looks at what was sent and found.</summary>
    /// <param name="sent">Everything that was sent.</param>
    /// <param name="partitions">Everything that was found.</param>
    /// <param name="nowMs">When all of that was found at least, epoch ms.</param>
    public DelayCheck(IReadOnlyList<DelaySent> sent, IReadOnlyList<DelayPartition> partitions, long nowMs)
    {
        (_partitions, _nowMs) = (partitions, nowMs);
        _sent = sent.ToDictionary(static s => s.Id);
        _markers = partitions.ToDictionary(static p => p.Place, static p => p.Markers
            .GroupBy(static m => m.ProducerId).ToDictionary(static g => g.Key, static g => g.ToList()));
        _found = partitions.ToDictionary(static p => p.Place, static p => p.Records
            .Where(static r => r.Id is not null).ToLookup(static r => r.Id!.Value));
        _cancels = sent.Where(static s => s.Target is not null).ToLookup(static s => s.Target!);
    }

    /// <summary>Runs all rules. What was found decides the transactions whose end no client knows.</summary>
    public List<string> Run()
    {
        foreach (var record in _sent.Values)
            CheckTransaction(record);
        foreach (var partition in _partitions)
        {
            foreach (var found in partition.Records)
                CheckFound(partition.Place, found);
        }

        foreach (var record in _sent.Values)
            CheckOnce(record);
        foreach (var missing in Missing())
            Problem($"lost: {missing}");
        return _problems;
    }

    /// <summary>What must be visible by now, and is not; and transactions that have no end.</summary>
    public List<string> Missing()
    {
        var missing = new List<string>();
        var withGap = _partitions.Where(static p => p.HasGap).Select(static p => p.Place).ToHashSet();
        foreach (var record in _sent.Values.Where(r => r.IsAcked && !withGap.Contains(r.Place)))
        {
            if (record.Transaction is not null && MarkerOf(record) is null)
                missing.Add($"{record.Place}: no marker of producer id {record.ProducerId} behind {record}");
            else if (IsRequired(record) && !_found[record.Place].Contains(record.Id))
                missing.Add($"{record.Place}: {record}, due {record.DueMostMs}, now {_nowMs}, is not there");
        }

        return missing;
    }

    /// <summary>The markers say what the producer was told.</summary>
    private void CheckTransaction(DelaySent record)
    {
        if (record.Transaction is not { } transaction || !record.IsAcked || MarkerOf(record) is not { } marker)
            return;
        if (transaction.Outcome is Outcome.CommitAsked or Outcome.Open)
            transaction.Outcome = marker.IsCommit ? Outcome.Committed : Outcome.Aborted;
        else if (marker.IsCommit != (transaction.Outcome == Outcome.Committed))
            Problem($"torn: {record.Place}: {record}, but the marker at offset {marker.Offset} says "
                + (marker.IsCommit ? "commit" : "abort"));
    }

    /// <summary>A record that is visible is one that was sent there, whole, in a shape that it may have.</summary>
    private void CheckFound(Place place, DelayFound found)
    {
        if (found.Id is not { } id)
            Problem($"damaged: {place} {found} is not what anybody sent");
        else if (!_sent.TryGetValue(id, out var sent) || sent.Place != place)
            Problem($"unknown: {place} {found}, which nobody sent there");
        else if (sent.Kind == DelayKind.Cancel)
            Problem($"command visible: {place} {found}: {sent}");
        else if (found.Key != DelayBatches.KeyOf(id) || found.UserHeader != id.ToString())
            Problem($"damaged: {place} {found} has key {found.Key} and header {found.UserHeader}");
        else if (found.IsCopy)
            CheckCopy(sent, found);
        else
            CheckOriginal(sent, found);
    }

    /// <summary>A delivery says what it is a copy of, comes in time, behind its commit, and before a cancel.</summary>
    private void CheckCopy(DelaySent sent, DelayFound found)
    {
        if (sent.Kind != DelayKind.Delayed)
            Problem($"copied: {sent.Place} {found}: {sent}");
        if (sent.IsAcked && found.OriginOffset != sent.Offset)
            Problem($"origin: {sent.Place} {found}: {sent}");
        if (found.OriginOffset >= found.Offset)
            Problem($"origin: {sent.Place} {found} is before what it is a copy of");
        if (sent.TimestampMs is { } timestamp && found.OriginTimestampMs != timestamp)
            Problem($"origin: {sent.Place} {found} says {found.OriginTimestampMs}, but was sent at {timestamp}");
        if (found.HasRequest || found.IsTransactional)
            Problem($"headers: {sent.Place} {found} has a request of its producer, or is in a transaction");
        if (found.TimestampMs < sent.DueLeastMs || found.SeenMs < sent.DueLeastMs)
            Problem($"early: {sent.Place} {found}: {sent}, due {sent.DueLeastMs}");
        if (sent.Transaction is { Outcome: Outcome.Aborted })
            Problem($"aborted: {sent.Place} {found}: {sent}");
        if (sent.Transaction is not null && MarkerOf(sent) is { } marker && marker.Offset > found.Offset)
            Problem($"uncommitted: {sent.Place} {found}: {sent}, whose marker is at {marker.Offset}");
        foreach (var cancel in _cancels[sent])
        {
            if (EffectOf(cancel) is { } offset && offset < found.Offset)
                Problem($"cancelled: {sent.Place} {found}: {sent}, in force at {offset}: {cancel}");
        }
    }

    /// <summary>A record that was stored visible was due when it came.</summary>
    private void CheckOriginal(DelaySent sent, DelayFound found)
    {
        if (sent.IsAcked && found.Offset != sent.Offset)
            Problem($"moved: {sent.Place} {found}: {sent}");
        if (sent.Kind != DelayKind.Delayed)
            return;
        if (found.SeenMs < sent.DueLeastMs || (sent.IsAcked && sent.AckedMs < sent.DueLeastMs))
            Problem($"hidden visible: {sent.Place} {found}: {sent}, due {sent.DueLeastMs}, answered {sent.AckedMs}");
    }

    /// <summary>Nothing is visible twice, be it the original or a copy.</summary>
    private void CheckOnce(DelaySent sent)
    {
        var all = _found[sent.Place][sent.Id].ToList();
        if (all.Count > 1)
            Problem($"duplicated: {sent.Place}: {sent} is at {string.Join("; ", all)}");
    }

    /// <summary>Whether a record, whose answer came, must be visible by now.</summary>
    private bool IsRequired(DelaySent record) => record.Kind switch
    {
        DelayKind.Cancel => false,
        DelayKind.Plain => true,
        _ => record.DueMostMs < _nowMs
            && (record.Transaction is not { } transaction
                || transaction.Outcome == Outcome.Committed
                || (transaction.Outcome == Outcome.CommitAsked && MarkerOf(record) is { IsCommit: true }))
            && !_cancels[record].Any(MayHold),
    };

    /// <summary>Whether a cancel may be in force.</summary>
    private bool MayHold(DelaySent cancel) => cancel switch
    {
        { IsAcked: false, Transaction: null } => true,
        { Transaction: null } => true,
        { Transaction.Outcome: Outcome.Aborted } => false,
        { Transaction.Outcome: Outcome.CommitAsked } => MarkerOf(cancel) is not { IsCommit: false },
        _ => true,
    };

    /// <summary>From which offset on a cancel is in force; null when it is not, or nobody knows.</summary>
    private long? EffectOf(DelaySent cancel)
    {
        if (!cancel.IsAcked)
            return null;
        if (cancel.Transaction is null)
            return cancel.Offset;
        return MarkerOf(cancel) is { IsCommit: true } marker ? marker.Offset : null;
    }

    /// <summary>The end of the transaction of a record, whose answer came.</summary>
    private DelayMarker? MarkerOf(DelaySent record)
    {
        if (!record.IsAcked || !_markers[record.Place].TryGetValue(record.ProducerId, out var markers))
            return null;
        var (low, high) = (0, markers.Count);
        while (low < high)
        {
            var middle = (low + high) / 2;
            if (markers[middle].Offset < record.Offset)
                low = middle + 1;
            else
                high = middle;
        }

        return low < markers.Count ? markers[low] : null;
    }

    private void Problem(string text)
    {
        if (_problems.Count < MostProblems)
            _problems.Add(text);
    }
}
