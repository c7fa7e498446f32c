using System.Buffers.Binary;
using KBroker.Storage.Files;

namespace KBroker.Storage.Indexes;

/// <summary>
/// <c>&lt;base&gt;.txnindex</c>: the aborted transactions whose markers lie in the segment, 34 bytes each: int16
/// version
/// (0), int64 producer id, first offset, last offset, last stable offset, big-endian, ordered by last offset. The file
/// exists only when there is an entry. Crash behaviour: entries behind the recovery point are dropped and written anew
/// from the markers when the log's tail is scanned; a torn last entry is cut.
/// </summary>
internal sealed class TransactionIndex(IFileSystem files, string path) : IDisposable
{
    /// <summary>Bytes of an entry.</summary>
    public const int EntrySize = 34;

    private const short Version = 0;
    private const int PageEntries = 120;
    private readonly Lock _lock = new();
    private PooledFile? _file;
    private volatile bool _isEmpty;
    private string _path = path;

    /// <summary>Full path.</summary>
    public string Path => _path;

    /// <summary>Whether it is known that there is no entry: most segments have none, and readers ask often.</summary>
    public bool IsEmpty => _isEmpty;

    /// <summary>Adds an entry.</summary>
    public void Append(in AbortedTransaction transaction)
    {
        Span<byte> entry = stackalloc byte[EntrySize];
        BinaryPrimitives.WriteInt16BigEndian(entry, Version);
        BinaryPrimitives.WriteInt64BigEndian(entry[2..], transaction.ProducerId);
        BinaryPrimitives.WriteInt64BigEndian(entry[10..], transaction.FirstOffset);
        BinaryPrimitives.WriteInt64BigEndian(entry[18..], transaction.LastOffset);
        BinaryPrimitives.WriteInt64BigEndian(entry[26..], transaction.LastStableOffset);
        lock (_lock)
        {
            _file ??= new PooledFile(files, _path, isMadeAnew: true);
            _file.Open(FileOpenMode.OpenOrCreate);
            _file.Write(entry, _file.Length / EntrySize * EntrySize);
            _isEmpty = false;
        }
    }

    /// <summary>All entries, in order.</summary>
    public List<AbortedTransaction> ReadAll()
    {
        lock (_lock)
            return _isEmpty ? [] : Read(out _);
    }

    /// <summary>All entries, in order, if the file, where there is one, has whole ones of the known version
    /// only.</summary>
    public bool TryReadWhole(out List<AbortedTransaction> entries)
    {
        lock (_lock)
        {
            entries = Read(out var areWhole);
            return areWhole;
        }
    }

    private List<AbortedTransaction> Read(out bool areWhole)
    {
        var result = new List<AbortedTransaction>();
        areWhole = true;
        if (_file is not null || files.FileExists(_path))
        {
            _file ??= new PooledFile(files, _path, isMadeAnew: true);
            Span<byte> page = stackalloc byte[EntrySize * PageEntries];
            var bytes = page.Length;
            for (long position = 0; bytes == page.Length; position += page.Length)
            {
                bytes = _file.Read(page, position);
                areWhole &= bytes % EntrySize == 0;
                for (var at = 0; at + EntrySize <= bytes; at += EntrySize)
                {
                    areWhole &= BinaryPrimitives.ReadInt16BigEndian(page[at..]) == Version;
                    result.Add(Decode(page.Slice(at, EntrySize)));
                }
            }
        }

        _isEmpty = result.Count == 0;
        return result;
    }

    /// <summary>Closes the file if nobody uses it.</summary>
    public void CloseFile()
    {
        lock (_lock)
            _file?.CloseIfUnused();
    }

    /// <summary>Drops everything.</summary>
    public void Reset()
    {
        lock (_lock)
        {
            if (_file is null && !files.FileExists(_path))
                return;
            _file ??= new PooledFile(files, _path, isMadeAnew: true);
            _file.SetLength(0);
        }
    }

    /// <summary>Drops the entries whose marker lies at or above an offset.</summary>
    public void TruncateTo(long offset)
    {
        var keep = 0;
        foreach (var transaction in ReadAll())
        {
            if (transaction.LastOffset >= offset)
                break;
            keep++;
        }

        lock (_lock)
            _file?.SetLength((long)keep * EntrySize);
    }

    /// <summary>Puts the entries on stable storage, if there are any.</summary>
    public void Flush()
    {
        lock (_lock)
            _file?.Flush();
    }

    /// <summary>Renames the file, where it exists.</summary>
    public void Rename(string path)
    {
        lock (_lock)
        {
            if (_file is not null)
                _file.Rename(path);
            else if (files.FileExists(_path))
                files.Rename(_path, path);
            _path = path;
        }
    }

    /// <summary>Keeps the file from being opened until <see cref="EndMove"/>.</summary>
    public void BeginMove()
    {
        _lock.Enter();
        _file?.BeginMove();
    }

    /// <summary>Ends what <see cref="BeginMove"/> began.</summary>
    /// <param name="path">The path from now on.</param>
    public void EndMove(string path)
    {
        _file?.EndMove(path);
        _path = path;
        _lock.Exit();
    }

    public void Dispose()
    {
        lock (_lock)
        {
            _file?.Dispose();
            _file = null;
        }
    }

    private static AbortedTransaction Decode(ReadOnlySpan<byte> entry) => new(
        BinaryPrimitives.ReadInt64BigEndian(entry[2..]),
        BinaryPrimitives.ReadInt64BigEndian(entry[10..]),
        BinaryPrimitives.ReadInt64BigEndian(entry[18..]),
        BinaryPrimitives.ReadInt64BigEndian(entry[26..]));
}
