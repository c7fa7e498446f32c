using System.Diagnostics;
using KBroker.Protocol.Generator.Spec;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Tests.Messages;
using KBroker.Protocol.Tests.Support;

namespace KBroker.Protocol.Tests.Fuzz;

/// <summary>
/// Bytes that nobody meant: whatever they are, a generated reader ends with a message or with ProtocolException, and
/// allocates no more than a multiple of what it was given. The seed is printed when something fails, and can be given
/// in KBROKER_FUZZ_SEED; KBROKER_FUZZ_SECONDS makes it run longer.
/// </summary>
public sealed class GeneratedReaderFuzzTests
{
    // The worst struct takes one byte a field on the wire and an object with a reference a field in memory.
    private const long AllocatedPerByte = 120;
    private const long AllocatedAtAll = 16 * 1024;

    private readonly int _seed = int.TryParse(Environment.GetEnvironmentVariable("KBROKER_FUZZ_SEED"), out int seed)
        ? seed
        : Environment.TickCount;

    private readonly TimeSpan _time = TimeSpan.FromSeconds(
        double.TryParse(Environment.GetEnvironmentVariable("KBROKER_FUZZ_SECONDS"), out double seconds) ? seconds : 3);

    [Fact]
    public void Random_bytes_are_read_or_refused() => Run((random, _, _) =>
    {
        byte[] bytes = new byte[random.Next(200)];
        random.NextBytes(bytes);

        // Small numbers, so that lengths and counts are sometimes believable.
        if (random.Next(2) == 0)
            for (int i = 0; i < bytes.Length; i++) bytes[i] = (byte)(bytes[i] & 3);
        return bytes;
    });

    [Fact]
    public void Mutated_messages_are_read_or_refused() => Run((random, spec, version) =>
    {
        byte[] bytes = Valid(random, spec, version);
        for (int changes = random.Next(1, 5); changes > 0 && bytes.Length > 0; changes--)
        {
            int at = random.Next(bytes.Length);
            switch (random.Next(5))
            {
                case 0: bytes[at] ^= (byte)(1 << random.Next(8)); break;
                case 1: bytes[at] = 0xff; break;
                case 2: bytes[at] = 0x7f; break;
                case 3: bytes[at] = (byte)random.Next(256); break;
                default: bytes = [.. bytes[..at], .. bytes[random.Next(bytes.Length)..]]; break;
            }
        }

        return bytes;
    });

    [Fact]
    public void A_message_cut_anywhere_is_refused()
    {
        var random = new Random(_seed);
        foreach (var (spec, version) in Specs.MessageVersions())
        {
            byte[] bytes = Valid(random, spec, version);
            for (int length = 0; length < bytes.Length; length += 1 + bytes.Length / 50)
            {
                // Without optional parts behind it, every byte of a message counts.
                var failure = Record(spec, version, bytes[..length]);
                Assert.True(failure is ProtocolException,
                    $"{spec.Name} v{version} cut to {length} of {bytes.Length}, seed {_seed}: {failure}");
            }
        }
    }

    [Fact]
    public void A_length_that_lies_costs_no_memory()
    {
        byte[] bytes = new byte[64];
        Array.Fill(bytes, (byte)0x7f);
        foreach (var (spec, version) in Specs.MessageVersions()) Check(spec, version, bytes);
        bytes = [.. Enumerable.Repeat((byte)0xff, 4), 0x07, .. new byte[60]];
        foreach (var (spec, version) in Specs.MessageVersions()) Check(spec, version, bytes);
    }

    [Fact]
    public void A_frame_full_of_empty_elements_is_bounded()
    {
        // OffsetFetch v8: one group, then as many topics as fit, each of three bytes.
        const int Elements = 2_000_000;
        using var writer = new ProtocolWriter();
        writer.WriteUnsignedVarint(2);
        writer.WriteString("", true);
        writer.WriteUnsignedVarint(Elements + 1);
        for (int i = 0; i < Elements; i++) writer.WriteRaw([1, 1, 0]);
        byte[] bytes = writer.ToArray();
        long before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Throws<ProtocolException>(() =>
        {
            var reader = new ProtocolReader(bytes);
            OffsetFetchRequest.Read(ref reader, 8);
        });
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.True(allocated < 64 * 1024, $"{allocated} bytes");
    }

    private void Run(Func<Random, MessageSpec, short, byte[]> next)
    {
        var random = new Random(_seed);
        var all = Specs.MessageVersions().ToArray();
        var clock = Stopwatch.StartNew();
        do
        {
            foreach (var (spec, version) in all) Check(spec, version, next(random, spec, version));
        }
        while (clock.Elapsed < _time);
    }

    private void Check(MessageSpec spec, short version, byte[] bytes)
    {
        var failure = Record(spec, version, bytes);
        Assert.True(failure is null or ProtocolException,
            $"{spec.Name} v{version}, seed {_seed}, {Convert.ToHexString(bytes)}: {failure}");
    }

    private Exception? Record(MessageSpec spec, short version, byte[] bytes)
    {
        var read = Readers[spec.Name];
        long before = GC.GetAllocatedBytesForCurrentThread();
        Exception? failure = null;
        try
        {
            var reader = new ProtocolReader(bytes);
            read(ref reader, version);
        }
        catch (Exception caught)
        {
            failure = caught;
        }

        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        long bound = AllocatedAtAll + AllocatedPerByte * bytes.Length;
        Assert.True(allocated <= bound,
            $"{spec.Name} v{version}, seed {_seed}: {allocated} bytes allocated for {bytes.Length}: "
                + Convert.ToHexString(bytes));
        return failure;
    }

    private static readonly Dictionary<string, Specs.ReadMessage> Readers =
        Specs.All.Keys.ToDictionary(n => n, Specs.ReaderOf);

    private static byte[] Valid(Random random, MessageSpec spec, short version)
    {
        using var writer = new ProtocolWriter();
        new MessageFiller(random).Create(spec, version).Write(writer, version);
        return writer.ToArray();
    }
}
