using System.Globalization;
using System.Text;
using KBroker.Storage.Files;

namespace KBroker.Storage;

/// <summary>A leader epoch and the offset of its first record.</summary>
/// <param name="Epoch">The leader epoch.</param>
/// <param name="StartOffset">The first offset written in it.</param>
public readonly record struct EpochStart(int Epoch, long StartOffset);

/// <summary>
/// The leader epochs of a log and where each begins, kept in <c>leader-epoch-checkpoint</c>: how replicas and
/// consumers find out where their histories part.
/// </summary>
/// <remarks>
/// The file is text in UTF-8, lines ended by LF: the version <c>0</c>; the number of entries; then a line
/// <c>epoch startOffset</c> each, both ascending. It is replaced atomically when the log is flushed, not at each new
/// epoch: entries behind the recovery point come back from the batches themselves, which carry their epoch, when the
/// log's tail is scanned after a crash.
/// </remarks>
public sealed class EpochCache
{
    /// <summary>The file's name.</summary>
    public const string FileName = "leader-epoch-checkpoint";

    private const string Version = "0";
    private readonly Lock _lock = new();
    private readonly IFileSystem _files;
    private readonly List<EpochStart> _entries = [];
    private string _path;
    private int _latest = -1;
    private bool _dirty;
    private bool _hasTemporary;
    private int _changes;
    private int _changesWritten;

    internal EpochCache(IFileSystem files, string directory)
    {
        _files = files;
        _path = Path.Combine(directory, FileName);
    }

    /// <summary>The latest epoch, or -1.</summary>
    public int LatestEpoch => Volatile.Read(ref _latest);

    /// <summary>All entries, oldest first.</summary>
    public IReadOnlyList<EpochStart> Entries
    {
        get
        {
            lock (_lock)
                return [.. _entries];
        }
    }

    /// <summary>Where an epoch ends, as OffsetForLeaderEpoch answers it.</summary>
    /// <param name="epoch">The epoch asked for.</param>
    /// <param name="logEndOffset">The log's end, where the latest epoch ends.</param>
    /// <returns>
    /// The largest known epoch not above the one asked for and the start of the next one; unknown when the epoch is
    /// newer than all known ones. For an epoch older than all known ones: itself, and the start of the first one.
    /// </returns>
    public EpochEndOffset EndOffsetFor(int epoch, long logEndOffset)
    {
        if (epoch < 0)
            return EpochEndOffset.Unknown;
        lock (_lock)
        {
            if (_entries.Count == 0 || _entries[^1].Epoch < epoch)
                return EpochEndOffset.Unknown;
            if (_entries[^1].Epoch == epoch)
                return new EpochEndOffset(epoch, logEndOffset);
            var higher = _entries.FindIndex(e => e.Epoch > epoch);
            var floorEpoch = higher == 0 ? epoch : _entries[higher - 1].Epoch;
            return new EpochEndOffset(floorEpoch, _entries[higher].StartOffset);
        }
    }

    /// <summary>The epoch that wrote an offset.</summary>
    /// <param name="offset">The offset.</param>
    /// <returns>The epoch, or -1 when it is older than all known ones.</returns>
    public int EpochOf(long offset)
    {
        lock (_lock)
        {
            for (var i = _entries.Count - 1; i >= 0; i--)
            {
                if (_entries[i].StartOffset <= offset)
                    return _entries[i].Epoch;
            }

            return -1;
        }
    }

    /// <summary>Notes that an epoch begins at an offset; does nothing when it is not newer.</summary>
    internal void Assign(int epoch, long startOffset)
    {
        // Nearly every batch is of the latest epoch, and needs no lock to find that out.
        if (epoch <= LatestEpoch)
            return;
        lock (_lock)
        {
            if (epoch <= _latest)
                return;
            // An epoch without a record of its own vanishes when the next one begins at the same offset.
            _entries.RemoveAll(e => e.StartOffset >= startOffset);
            _entries.Add(new EpochStart(epoch, startOffset));
            Changed();
        }
    }

    /// <summary>Forgets everything, to be told anew.</summary>
    internal void Clear()
    {
        lock (_lock)
        {
            _entries.Clear();
            Changed();
        }
    }

    /// <summary>Forgets what begins at or behind an offset.</summary>
    internal void TruncateFromEnd(long endOffset)
    {
        lock (_lock)
        {
            if (_entries.RemoveAll(e => e.StartOffset >= endOffset) > 0)
                Changed();
        }
    }

    /// <summary>Lets the first entry begin at an offset, and forgets what ended before it.</summary>
    internal void TruncateFromStart(long startOffset)
    {
        lock (_lock)
        {
            var floor = _entries.FindLastIndex(e => e.StartOffset <= startOffset);
            if (floor < 0 || (floor == 0 && _entries[0].StartOffset == startOffset))
                return;
            _entries[floor] = _entries[floor] with { StartOffset = startOffset };
            _entries.RemoveRange(0, floor);
            Changed();
        }
    }

    /// <summary>Takes over the entries of another log with the same records.</summary>
    internal void Replace(IReadOnlyList<EpochStart> entries)
    {
        lock (_lock)
        {
            if (_entries.SequenceEqual(entries))
                return;
            _entries.Clear();
            _entries.AddRange(entries);
            Changed();
        }
    }

    /// <summary>Writes the file if anything changed.</summary>
    internal void Flush()
    {
        lock (_lock)
        {
            if (!_dirty)
                return;
            // It takes the place of a temporary file that waits for its name.
            _hasTemporary = false;
            _files.WriteAtomically(_path, ToText());
            _changesWritten = _changes;
            _dirty = false;
        }
    }

    /// <summary>
    /// Writes the file under its temporary name if anything changed: for a flush of the whole file system, after which
    /// <see cref="PublishTemporary"/> gives it the final one.
    /// </summary>
    /// <returns>Whether there is such a file now.</returns>
    internal bool WriteTemporary()
    {
        lock (_lock)
        {
            if (!_dirty)
                return false;
            _files.WriteTemporary(_path, ToText());
            _changesWritten = _changes;
            return _hasTemporary = true;
        }
    }

    /// <summary>Gives the file its final name, unless <see cref="Flush"/> has written a newer one meanwhile.</summary>
    internal void PublishTemporary()
    {
        lock (_lock)
        {
            if (!_hasTemporary)
                return;
            _files.RenameTemporary(_path);
            _hasTemporary = false;
        }
    }

    /// <summary>Notes that the name is on stable storage.</summary>
    internal void TemporaryIsStable()
    {
        lock (_lock)
            _dirty = _changes != _changesWritten;
    }

    /// <summary>Reads the file. One that is missing is empty.</summary>
    internal void Load()
    {
        var text = _files.ReadTextOrNull(_path);
        if (text is null)
            return;
        lock (_lock)
        {
            foreach (var fields in Checkpoints.CheckpointText.Lines(_path, text, Version, fieldCount: 2))
            {
                _entries.Add(new EpochStart(
                    Checkpoints.CheckpointText.Index(_path, fields[0]),
                    Checkpoints.CheckpointText.Number(_path, fields[1])));
            }

            NoteLatest();
        }
    }

    internal void Moved(string directory)
    {
        lock (_lock)
            _path = Path.Combine(directory, FileName);
    }

    private void Changed()
    {
        _dirty = true;
        _changes++;
        NoteLatest();
    }

    private void NoteLatest() => Volatile.Write(ref _latest, _entries.Count == 0 ? -1 : _entries[^1].Epoch);

    private string ToText()
    {
        var text = new StringBuilder().Append(Version).Append('\n').Append(_entries.Count).Append('\n');
        foreach (var entry in _entries)
            text.Append(CultureInfo.InvariantCulture, $"{entry.Epoch} {entry.StartOffset}\n");
        return text.ToString();
    }
}
