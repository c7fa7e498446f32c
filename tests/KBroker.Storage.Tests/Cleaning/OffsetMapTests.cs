using System.Text;
using KBroker.Storage.Cleaning;

namespace KBroker.Storage.Tests.Cleaning;

public sealed class OffsetMapTests
{
    private static readonly KeyHash Hash = new(0x0706050403020100, 0x0f0e0d0c0b0a0908);

    // From OpenSSL: openssl mac -macopt hexkey:000102030405060708090a0b0c0d0e0f -macopt size:16 SIPHASH
    [Theory]
    [InlineData("", "A3817F04BA25A8E66DF67214C7550293")]
    [InlineData("00", "DA87C1D86B99AF44347659119B22FC45")]
    [InlineData("0001020304050607", "3B62A9BA6258F5610F83E264F31497B4")]
    [InlineData("000102030405060708090A0B0C0D0E", "5493E99933B0A8117E08EC0F97CFC3D9")]
    public void The_hash_is_SipHash_2_4_with_128_bits(string key, string expected)
    {
        var (low, high) = Hash.Compute(Convert.FromHexString(key));
        Span<byte> bytes = stackalloc byte[16];
        BitConverter.TryWriteBytes(bytes, low);
        BitConverter.TryWriteBytes(bytes[8..], high);
        Assert.Equal(expected, Convert.ToHexString(bytes));
    }

    [Fact]
    public void It_agrees_with_a_dictionary_until_it_is_full()
    {
        using var map = new OffsetMap(slots: 1000, loadFactor: 0.9, KeyHash.Create(new Random(1)));
        var model = new Dictionary<string, long>();
        var random = new Random(2);
        for (var offset = 0L; model.Count < 900; offset += random.Next(1, 3))
        {
            var key = Key(random.Next(1200));
            Assert.True(map.TryPut(map.Foresee(Bytes(key)), offset));
            model[key] = offset;
            Assert.Equal(offset, map.LatestOffset);
        }

        Assert.Equal((900, 0.9), (map.Count, map.Utilization));
        for (var i = 0; i < 2000; i++)
            Assert.Equal(model.GetValueOrDefault(Key(i), -1), map.Get(map.Foresee(Bytes(Key(i)))));
        var last = map.LatestOffset;
        Assert.False(map.TryPut(map.Foresee("another"u8), last + 1));
        Assert.Equal((last, -1L), (map.LatestOffset, map.Get(map.Foresee("another"u8))));
        // A key that is there takes no room.
        var known = model.Keys.First();
        Assert.True(map.TryPut(map.Foresee(Bytes(known)), last + 2));
        Assert.Equal(last + 2, map.Get(map.Foresee(Bytes(known))));
    }

    [Fact]
    public void Offset_0_and_the_empty_key_are_like_others()
    {
        using var map = new OffsetMap(2, 1, Hash);
        Assert.Equal(-1, map.Get(map.Foresee(default)));
        Assert.True(map.TryPut(map.Foresee(default), 0));
        Assert.Equal(0, map.Get(map.Foresee(default)));
        // One slot is never filled, or a search for an unknown key would not end.
        Assert.False(map.TryPut(map.Foresee("a"u8), 1));
        Assert.Equal(-1, map.Get(map.Foresee("a"u8)));
    }

    [Fact]
    public void Two_maps_of_one_process_hash_alike_and_two_processes_do_not()
    {
        var one = KeyHash.Create(new Random(1)).Compute("key"u8);
        Assert.Equal(one, KeyHash.Create(new Random(1)).Compute("key"u8));
        Assert.NotEqual(one, KeyHash.Create(new Random(2)).Compute("key"u8));
    }

    private static string Key(int number) => $"key-{number}";

    private static byte[] Bytes(string key) => Encoding.UTF8.GetBytes(key);
}
