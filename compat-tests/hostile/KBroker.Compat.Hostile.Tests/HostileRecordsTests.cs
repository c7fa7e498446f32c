using KBroker.Compat.Harness;

namespace KBroker.Compat.Hostile.Tests;

public sealed class HostileRecordsTests(HostileFixture fixture) : HostileTest(fixture)
{
    private const int CorruptMessage = 2;
    private const int InvalidRecord = 87;
    private const int UnsupportedCompressionType = 76;
    private const int UnknownServerError = -1;

    private static byte[] Whole => Batch.Of(10, 20, 30);

    public static TheoryData<string, int[]> Cases => new()
    {
        { "wrong checksum", [CorruptMessage] },
        { "more records than there are", [InvalidRecord] },
        { "fewer records than there are", [InvalidRecord] },
        { "negative record count", [InvalidRecord] },
        { "huge record count", [InvalidRecord] },
        { "last offset delta against the count", [InvalidRecord] },
        // Kafka lets its codec's exception through, as an unknown error.
        { "gzip that is none", [UnknownServerError, CorruptMessage, InvalidRecord] },
        { "zstd before Produce 7", [UnsupportedCompressionType] },
        { "length below the header", [CorruptMessage] },
        { "two batches in one request", [InvalidRecord] },
        { "magic 1", [InvalidRecord] },
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public Task A_batch_that_lies_is_refused_with_an_error(string lie, int[] expected) => SurviveAsync(async () =>
    {
        using var connection = await RawConnection.OpenAsync(Broker.Port);
        await connection.SendAsync(Requests.Produce(Make(lie)));
        Assert.Contains(Answers.ProduceError(await connection.ReceiveFrameAsync()), expected);
        return 1;
    });

    [Fact]
    public Task A_batch_that_unpacks_to_half_a_gigabyte_takes_no_memory() => SurviveAsync(async () =>
    {
        var bomb = Batch.Bomb(512 * 1024 * 1024);
        Assert.True(bomb.Length < 1024 * 1024, $"{bomb.Length} bytes pass max.message.bytes");
        using var connection = await RawConnection.OpenAsync(Broker.Port);
        await connection.SendAsync(Requests.Produce(bomb));
        // Accepted or refused: only answered.
        await connection.ReceiveFrameAsync();
        return 1;
    });

    private static byte[] Make(string lie) => lie switch
    {
        "wrong checksum" => Whole.WithWrongChecksum(),
        "more records than there are" => Whole.WithLastOffsetDelta(3).WithCount(4),
        "fewer records than there are" => Whole.WithLastOffsetDelta(1).WithCount(2),
        "negative record count" => Whole.WithCount(-5),
        "huge record count" => Whole.WithLastOffsetDelta(int.MaxValue - 1).WithCount(int.MaxValue),
        "last offset delta against the count" => Whole.WithLastOffsetDelta(100),
        "gzip that is none" => Whole.WithCodec(1),
        "zstd before Produce 7" => Whole.WithCodec(4),
        "length below the header" => Whole.WithLength(20),
        "two batches in one request" => [.. Whole, .. Whole],
        "magic 1" => Whole.WithMagic(1),
        _ => throw new ArgumentException(lie),
    };
}
