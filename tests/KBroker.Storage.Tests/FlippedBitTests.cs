using System.Buffers;
using KBroker.Protocol.Records;
using KBroker.Storage.Files;

namespace KBroker.Storage.Tests;

/// <summary>
/// One bit of one file is wrong when a log is opened: whatever the bit, the broker opens, and a client reads what was
/// written, or is refused; nothing that was on stable storage is cut.
/// </summary>
public sealed class FlippedBitTests
{
    private const long Now = 1_700_000_000_000;
    private const int MaxCases = 100;

    private static readonly LogConfig Small = new()
    {
        SegmentBytes = 1200,
        IndexIntervalBytes = 100,
        MessageTimestampAfterMaxMs = long.MaxValue,
    };

    private enum Verdict
    {
        /// <summary>Everything is as it was.</summary>
        Repaired,

        /// <summary>The partition, or a read, is refused.</summary>
        Refused,
    }

    [Theory]
    [InlineData("*.index", true)]
    [InlineData("*.index", false)]
    [InlineData("*.timeindex", true)]
    [InlineData("*.timeindex", false)]
    [InlineData("*.txnindex", true)]
    [InlineData("*.txnindex", false)]
    [InlineData("*.snapshot", true)]
    [InlineData("*.snapshot", false)]
    [InlineData("leader-epoch-checkpoint", true)]
    [InlineData("leader-epoch-checkpoint", false)]
    public void Of_a_file_that_can_be_made_anew_is_repaired(string pattern, bool clean)
    {
        using var template = new Template(clean);
        var bits = pattern[0] == '*' ? 1 : 8;
        foreach (var file in template.Files(pattern))
        {
            foreach (var position in Template.Positions(file, MaxCases))
            {
                for (var bit = 0; bit < bits; bit++)
                {
                    var verdict = template.Open(file, position, template.Original, (position + bit) % 8);
                    // That the log starts later by one file than by the other is decided by nobody but a human.
                    Assert.True(verdict == Verdict.Repaired || (clean && bits == 8), $"{file} at {position}");
                }
            }
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Of_a_log_before_the_recovery_point_is_never_cut_away(bool clean)
    {
        using var template = new Template(clean);
        var refused = 0;
        foreach (var file in template.Files("*.log"))
        {
            foreach (var position in Template.Positions(file, MaxCases))
            {
                // A batch's base offset and leader epoch are not in its checksum.
                if (template.FieldAt(file, position) is < RecordBatchLayout.BatchLength
                    or (>= RecordBatchLayout.PartitionLeaderEpoch and < RecordBatchLayout.Magic))
                    continue;
                if (template.Open(file, position, null) == Verdict.Refused)
                    refused++;
                Assert.Equal(template.Lengths(), template.OriginalLengths);
            }
        }

        Assert.True(refused > 10);
    }

    [Fact]
    public void Of_the_last_batch_of_a_closed_log_moves_no_offset()
    {
        using var template = new Template(clean: true);
        var file = template.Files("*.log")[^1];
        var last = template.LastBatchPosition(file);
        for (var position = last; position < last + RecordBatchLayout.PartitionLeaderEpoch; position++)
        {
            for (var bit = 0; bit < 8; bit++)
                Assert.Equal(Verdict.Refused, template.Open(file, position, null, bit));
        }
    }

    [Fact]
    public void Of_a_log_behind_the_recovery_point_ends_the_log_there_at_most()
    {
        using var template = new Template(clean: false, recoveryPoint: 0);
        foreach (var (file, positions) in template.Files("*.log")
            .Select(static f => (f, Template.Positions(f, MaxCases))).ToList())
        {
            foreach (var position in positions)
            {
                if (template.FieldAt(file, position) is < RecordBatchLayout.BatchLength
                    or (>= RecordBatchLayout.PartitionLeaderEpoch and < RecordBatchLayout.Magic))
                    continue;
                template.OpenTorn(file, position);
            }
        }
    }

    [Theory]
    [InlineData("recovery-point-offset-checkpoint", true)]
    [InlineData("recovery-point-offset-checkpoint", false)]
    [InlineData("cleaner-offset-checkpoint", false)]
    [InlineData("replication-offset-checkpoint", false)]
    [InlineData(".kafka_cleanshutdown", true)]
    public void Of_a_checkpoint_costs_time_at_most(string name, bool clean)
    {
        using var template = new Template(clean);
        File.AppendAllText(Path.Combine(template.Root, "cleaner-offset-checkpoint"), "0\n1\norders 0 3\n");
        File.AppendAllText(Path.Combine(template.Root, "replication-offset-checkpoint"), "0\n1\norders 0 30\n");
        template.Remember();
        var file = Path.Combine(template.Root, name);
        foreach (var position in Template.Positions(file, 1000))
        {
            for (var bit = 0; bit < 8; bit++)
                template.Open(file, position, template.Original, bit);
        }
    }

    [Fact]
    public void Of_the_log_start_checkpoint_does_not_move_the_start_back_unless_it_is_another_number()
    {
        using var template = new Template(clean: true, start: 7);
        var file = Path.Combine(template.Root, "log-start-offset-checkpoint");
        Assert.Equal("0\n1\norders 0 7\n", File.ReadAllText(file));
        foreach (var position in Template.Positions(file, 1000))
        {
            for (var bit = 0; bit < 8; bit++)
            {
                var isNumber = position == "0\n1\norders 0 ".Length && char.IsAsciiDigit((char)('7' ^ (1 << bit)));
                template.Open(file, position, isNumber ? null : template.Original, bit);
            }
        }
    }

    [Fact]
    public void Of_the_topic_id_does_not_put_the_directory_aside()
    {
        using var template = new Template(clean: true);
        var file = template.Files("partition.metadata")[0];
        foreach (var position in Template.Positions(file, 1000))
        {
            for (var bit = 0; bit < 8; bit++)
            {
                template.Open(file, position, template.Original, bit);
                Assert.Empty(Directory.GetDirectories(template.Root, "*-stray"));
            }
        }
    }

    [Fact]
    public void Of_meta_properties_is_refused_or_means_nothing()
    {
        using var template = new Template(clean: true);
        var file = Path.Combine(template.Root, "meta.properties");
        var refused = 0;
        foreach (var position in Template.Positions(file, 1000))
        {
            for (var bit = 0; bit < 8; bit++)
            {
                try
                {
                    template.Open(file, position, template.Original, bit);
                }
                catch (LogDirectoryException exception)
                {
                    Assert.Contains("meta.properties", exception.Message);
                    refused++;
                }
            }
        }

        Assert.True(refused > 100);
    }

    /// <summary>A directory with one log in three segments, made once and damaged again and again.</summary>
    private sealed class Template : IDisposable
    {
        private readonly TestStorage _storage;
        private Dictionary<string, byte[]> _content = [];

        public Template(bool clean, long? recoveryPoint = null, long start = 0)
        {
            _storage = new TestStorage(Small, new FaultInjectingFileSystem(new PhysicalFileSystem()));
            for (var i = 0; i < 8; i++)
            {
                _storage.AppendOk(TestStorage.Batch(3, Now + (i * 100)), i / 3);
                _storage.AppendOk(TestStorage.ProducerBatch(5, 0, i * 2, 2, transactional: true), i / 3);
                if (i % 3 == 2)
                    Abort(i / 3);
            }

            if (start > 0)
                _storage.Log.DeleteRecordsBefore(start);
            Original = Read(_storage.Log);
            if (clean)
            {
                _storage.CloseCleanly();
            }
            else
            {
                if (recoveryPoint is null)
                {
                    _storage.Log.Flush();
                    _storage.Manager.CheckpointRecoveryPoints();
                }

                _storage.Crash();
            }

            Remember();
        }

        public string Root => _storage.Root;

        public State Original { get; }

        public long[] OriginalLengths { get; private set; } = [];

        public void Remember()
        {
            _content = Directory.GetFiles(Root, "*", SearchOption.AllDirectories)
                .ToDictionary(f => f, File.ReadAllBytes);
            OriginalLengths = Lengths();
        }

        public long[] Lengths() => [.. Files("*.log").Select(f => new FileInfo(f).Length)];

        public string[] Files(string pattern)
        {
            string[] files = [.. Directory.GetFiles(_storage.LogPath, pattern).Order()];
            Assert.NotEmpty(files);
            return files;
        }

        /// <summary>Positions all over a file.</summary>
        public static int[] Positions(string file, int max)
        {
            var length = (int)new FileInfo(file).Length;
            var step = Math.Max(1, length / max);
            return [.. Enumerable.Range(0, length).Where(p => p % step == 0)];
        }

        /// <summary>Which byte of its batch lies at a position.</summary>
        public int FieldAt(string file, int position)
        {
            var bytes = _content[file];
            for (var at = 0; ;)
            {
                Assert.True(RecordBatchHeader.TryParse(bytes.AsSpan(at), out var header));
                if (position < at + header.SizeInBytes)
                    return position - at;
                at += header.SizeInBytes;
            }
        }

        public int LastBatchPosition(string file) =>
            _content[file].Length - 1 - FieldAt(file, _content[file].Length - 1);

        /// <summary>Flips a bit, opens, and reads.</summary>
        /// <param name="file">Where.</param>
        /// <param name="position">Which byte.</param>
        /// <param name="expected">What must be there if it is served; null for a part of it.</param>
        /// <param name="bit">Which bit; by default another one at each position.</param>
        public Verdict Open(string file, int position, State? expected, int? bit = null)
        {
            Restore(file, position, bit ?? position % 8);
            try
            {
                _storage.Reopen();
            }
            catch (StorageException)
            {
                var damage = _storage.Manager.DamagedLogs[TestStorage.Partition];
                Assert.Contains("with the broker stopped", damage.Message, StringComparison.OrdinalIgnoreCase);
                Assert.StartsWith(_storage.LogPath, damage.File);
                _storage.Crash();
                return Verdict.Refused;
            }

            try
            {
                Assert.False(_storage.Manager.Directories[0].IsOffline, $"{file} at {position}");
                var state = Read(_storage.Log);
                if (expected is not null)
                    Assert.True(expected.Text == state.Text, $"{file} at {position}\n{expected.Text}\n{state.Text}");
                else
                    Assert.Empty(state.Records.Except(Original.Records));
                return Verdict.Repaired;
            }
            catch (RecordException)
            {
                return Verdict.Refused;
            }
            finally
            {
                _storage.Crash();
            }
        }

        /// <summary>Flips a bit behind the recovery point: the log ends before its batch.</summary>
        public void OpenTorn(string file, int position)
        {
            Restore(file, position, position % 8);
            _storage.Reopen();
            var records = Read(_storage.Log).Records;
            var batch = position - FieldAt(file, position);
            Assert.True(RecordBatchHeader.TryParse(_content[file].AsSpan(batch), out var header));
            Assert.Equal(Original.Records.TakeWhile(r => r.Offset < header.BaseOffset), records);
            Assert.Equal(header.BaseOffset, _storage.Log.LogEndOffset);
            Assert.Equal(header.BaseOffset, _storage.AppendOk(TestStorage.Batch(1)).FirstOffset);
            _storage.Crash();
        }

        public void Dispose() => _storage.Dispose();

        private static State Read(PartitionLog log)
        {
            var records = new List<(long Offset, long Timestamp)>();
            for (var next = log.LogStartOffset; next < log.LogEndOffset;)
            {
                using var region = log.Read(next, 400, long.MaxValue, minOneMessage: true).Records;
                var rest = new ReadOnlySequence<byte>(region.ToArray());
                var before = next;
                while (RecordBatches.Inspect(rest, out var header) == RecordBatchStatus.Whole)
                {
                    // As a client does, which sees such a batch as an error and not as records.
                    RecordBatches.EnsureValidCrc(rest.Slice(0, header.SizeInBytes));
                    using var reader = new RecordBatchReader(
                        rest.Slice(0, header.SizeInBytes), TestStorage.Codecs, int.MaxValue);
                    while (reader.TryRead(out var record))
                    {
                        if (record.Offset >= next)
                            records.Add((record.Offset, record.Timestamp));
                    }

                    next = header.NextOffset;
                    rest = rest.Slice(header.SizeInBytes);
                }

                if (next == before)
                    throw new CorruptRecordException($"Nothing can be read at {next}.");
            }

            return new State(records, Describe(log, records));
        }

        private static string Describe(PartitionLog log, List<(long Offset, long Timestamp)> records)
        {
            var lines = new List<string>
            {
                $"{log.LogStartOffset} to {log.LogEndOffset}, unstable {log.FirstUnstableOffset}",
                string.Join(' ', records),
                string.Join(' ', log.GetAbortedTransactions(0, long.MaxValue)),
                string.Join(' ', log.GetAbortedTransactions(5, 20)),
                string.Join(' ', log.LeaderEpochs.Entries),
                string.Join(' ', log.GetActiveProducers()),
                $"{log.MaxTimestampOffset()}",
            };
            for (var time = Now - 50; time < Now + 900; time += 50)
                lines.Add($"{log.FindOffsetByTimestamp(time)}");
            return string.Join('\n', lines);
        }

        private void Abort(int epoch)
        {
            var marker = TestStorage.Marker(5, ControlRecordType.Abort);
            Assert.True(_storage.Log.AppendAsLeader(
                new ReadOnlySequence<byte>(marker), epoch, AppendOptions.Coordinator).IsSuccess);
        }

        private void Restore(string file, int position, int bit)
        {
            foreach (var path in Directory.GetFiles(Root, "*", SearchOption.AllDirectories))
            {
                if (!_content.ContainsKey(path))
                    File.Delete(path);
            }

            foreach (var (path, content) in _content)
                File.WriteAllBytes(path, content);
            var bytes = _content[file].ToArray();
            bytes[position] ^= (byte)(1 << bit);
            File.WriteAllBytes(file, bytes);
        }
    }

    /// <summary>What can be seen of a log.</summary>
    private sealed record State(List<(long Offset, long Timestamp)> Records, string Text);
}
