using System.Buffers.Binary;
using KBroker.Compat.Harness;

namespace KBroker.Compat.Hostile.Tests;

public sealed class MalformedFrameTests(HostileFixture fixture) : HostileTest(fixture)
{
    [Theory]
    [InlineData(int.MaxValue)]
    [InlineData((100 * 1024 * 1024) + 1)]
    [InlineData(-1)]
    [InlineData(int.MinValue)]
    [InlineData(0)]
    public Task A_frame_of_impossible_length_closes_its_connection(int length) => SurviveAsync(async () =>
    {
        for (var i = 0; i < 20; i++)
            Assert.True(await IsRefusedAsync(new Body().Int32(length).Raw("something"u8).ToArray()));
        return 20;
    });

    /// <summary>The frame is whole, but the request in it ends too early; at every place it can.</summary>
    [Fact]
    public Task A_request_cut_at_any_byte_closes_its_connection() => SurviveAsync(async () =>
    {
        var offenders = 0;
        foreach (var (name, frame) in Requests.All)
            for (var length = 0; length < frame.Length - 4; length++)
            {
                // An ApiVersions request is answered whatever follows its header, if only with an error.
                if (name.StartsWith("ApiVersions", StringComparison.Ordinal) && length > 8)
                    break;
                var cut = frame[..(4 + length)];
                BinaryPrimitives.WriteInt32BigEndian(cut, length);
                Assert.True(await IsRefusedAsync(cut), $"{name} cut to {length} bytes was not refused");
                offenders++;
            }

        return offenders;
    });

    /// <summary>The frame announces more than ever comes, then the client goes away.</summary>
    [Fact]
    public Task A_client_that_goes_away_in_the_middle_of_a_frame_harms_nobody() => SurviveAsync(async () =>
    {
        var offenders = 0;
        foreach (var (_, frame) in Requests.All)
            for (var length = 1; length < frame.Length; length += 5)
            {
                using var connection = await RawConnection.OpenAsync(Broker.Port);
                await connection.SendAsync(frame.AsMemory(0, length));
                offenders++;
            }

        return offenders;
    });

    [Fact]
    public Task Versions_and_apis_that_do_not_exist_close_the_connection() => SurviveAsync(async () =>
    {
        var offenders = 0;
        // ApiVersions is the exception, and has a test of its own.
        var apis = Enumerable.Range(0, 95).Where(k => k != 18);
        foreach (var (api, version) in apis.SelectMany(k => new[] { (k, 9999), (k, -1) }).Concat([(9999, 0), (-7, 0)]))
        {
            var frame = RawConnection.Frame((short)api, (short)version, new byte[20]);
            Assert.True(await IsRefusedAsync(frame), $"api {api} version {version}");
            offenders++;
        }

        return offenders;
    });

    [Fact]
    public async Task An_unknown_version_of_ApiVersions_is_answered_with_error_35_in_version_0()
    {
        using var connection = await RawConnection.OpenAsync(Broker.Port);
        await connection.SendAsync(RawConnection.Frame(18, 99, [0, 2, (byte)'x', 2, (byte)'1', 0, 7, 7, 7], 42));
        var answer = await connection.ReceiveFrameAsync();
        Assert.Equal(42, Answers.CorrelationId(answer));
        Assert.Equal(35, BinaryPrimitives.ReadInt16BigEndian(answer.AsSpan(4)));
        // Version 0: an int32 count, then six bytes an API; ApiVersions is among them.
        var count = BinaryPrimitives.ReadInt32BigEndian(answer.AsSpan(6));
        Assert.Equal(10 + (6 * count), answer.Length);
        var keys = Enumerable.Range(0, count)
            .Select(i => BinaryPrimitives.ReadInt16BigEndian(answer.AsSpan(10 + (6 * i))));
        Assert.Contains((short)18, keys);
        await connection.SendAsync(Requests.ApiVersions(43));
        Assert.Equal(43, Answers.CorrelationId(await connection.ReceiveFrameAsync()));
    }

    /// <summary>Every four bytes of every request in turn become a length or a count that cannot be.</summary>
    [Theory]
    [InlineData(0x7fffffffu)]
    [InlineData(0xfffffffeu)]
    [InlineData(0x7ffffff0u)]
    public Task A_request_with_absurd_counts_allocates_nothing_for_them(uint absurd) => SurviveAsync(async () =>
    {
        var offenders = 0;
        foreach (var (_, frame) in Requests.All)
            for (var at = 12; at + 4 <= frame.Length; at++)
            {
                var spoiled = frame.ToArray();
                BinaryPrimitives.WriteUInt32BigEndian(spoiled.AsSpan(at), absurd);
                using var connection = await RawConnection.OpenAsync(Broker.Port);
                await SendQuietlyAsync(connection, spoiled);
                offenders++;
            }

        return offenders;
    });

    [Fact]
    public Task Random_bytes_harm_nobody() => SurviveAsync(async () =>
    {
        var random = new Random(20261121);
        for (var i = 0; i < 300; i++)
        {
            var bytes = new byte[random.Next(1, 4000)];
            random.NextBytes(bytes);
            // Half of them get a right length, so that the header and the body are looked at.
            if (i % 2 == 0 && bytes.Length > 8)
                BinaryPrimitives.WriteInt32BigEndian(bytes, bytes.Length - 4);
            using var connection = await RawConnection.OpenAsync(Broker.Port);
            await SendQuietlyAsync(connection, bytes);
        }

        return 300;
    });

    [Fact]
    public Task Valid_requests_with_flipped_bits_harm_nobody() => SurviveAsync(async () =>
    {
        var random = new Random(3);
        for (var i = 0; i < 600; i++)
        {
            var frame = Requests.All[i % Requests.All.Count].Frame.ToArray();
            for (var flips = random.Next(1, 6); flips > 0; flips--)
                frame[random.Next(4, frame.Length)] ^= (byte)(1 << random.Next(8));
            using var connection = await RawConnection.OpenAsync(Broker.Port);
            await SendQuietlyAsync(connection, frame);
        }

        return 600;
    });
}
