using System.Net.Sockets;
using KBroker.Compat.Harness;

namespace KBroker.Compat.Hostile.Tests;

public sealed class SlowAndManyTests(HostileFixture fixture) : HostileTest(fixture)
{
    [Fact]
    public async Task A_request_that_comes_byte_by_byte_is_answered()
    {
        using var connection = await RawConnection.OpenAsync(Broker.Port);
        foreach (var (_, frame) in Requests.All)
        {
            foreach (var b in frame)
                await connection.SendAsync(new[] { b });
            Assert.Equal(1, Answers.CorrelationId(await connection.ReceiveFrameAsync()));
        }
    }

    [Fact]
    public async Task A_thousand_requests_in_one_piece_are_answered_in_order()
    {
        using var connection = await RawConnection.OpenAsync(Broker.Port);
        var sending = connection.SendAsync(Enumerable.Range(0, 1000).SelectMany(Mixed).ToArray());
        for (var i = 0; i < 1000; i++)
            Assert.Equal(i, Answers.CorrelationId(await connection.ReceiveFrameAsync()));
        await sending;

        static byte[] Mixed(int i) => (i % 3) switch
        {
            0 => Requests.ApiVersions(i),
            1 => Requests.Produce(Batch.Of(10), i),
            _ => Requests.Fetch(0, 1000, i),
        };
    }

    /// <summary>Connected, begun, and never finished: they go when they were idle long enough.</summary>
    [Fact]
    public async Task Half_open_connections_are_closed_when_idle()
    {
        var files = await SettledOpenFilesAsync();
        var open = new List<RawConnection>();
        try
        {
            await SurviveAsync(async () =>
            {
                for (var i = 0; i < 100; i++)
                {
                    var connection = await RawConnection.OpenAsync(Broker.Port);
                    open.Add(connection);
                    var (_, frame) = Requests.All[i % Requests.All.Count];
                    await connection.SendAsync(frame.AsMemory(0, i % Math.Min(frame.Length, 20)));
                }

                return 100;
            });
            await Poll.UntilAsync("they are open", () => Broker.OpenFiles >= files + 100);
            await Poll.UntilAsync(
                "the idle ones are closed", () => Broker.OpenFiles < files + 20, TimeSpan.FromSeconds(60));
        }
        finally
        {
            open.ForEach(c => c.Dispose());
        }
    }

    [Fact]
    public async Task Thousands_of_connects_leave_nothing_behind()
    {
        var files = await SettledOpenFilesAsync();
        await SurviveAsync(async () =>
        {
            for (var i = 0; i < 3000; i++)
            {
                using var connection = await RawConnection.OpenAsync(Broker.Port);
                if (i % 10 == 0)
                    await connection.SendAsync(Requests.ApiVersions(i));
                if (i % 3 == 0)
                    connection.Socket.LingerState = new LingerOption(true, 0);
            }

            return 3000;
        });
        await Poll.UntilAsync("the sockets are closed", () => Broker.OpenFiles < files + 50);
    }

    /// <summary>Announcing a large frame must cost the announcer, not the broker.</summary>
    [Fact]
    public async Task Large_frames_that_never_come_are_not_allocated_for()
    {
        Assert.SkipWhen(CompatEnvironment.TargetIsKafka, "Kafka allocates a frame when it has read its length");
        var open = new List<RawConnection>();
        try
        {
            await SurviveAsync(async () =>
            {
                var begun = new Body().Int32(90 * 1024 * 1024).Int16(0).Int16(3).Raw(new byte[5000]).ToArray();
                for (var i = 0; i < 64; i++)
                {
                    var connection = await RawConnection.OpenAsync(Broker.Port);
                    open.Add(connection);
                    await connection.SendAsync(begun);
                }

                return 64;
            });
        }
        finally
        {
            open.ForEach(c => c.Dispose());
        }
    }

    /// <summary>Small requests with larger answers, as fast as they go, and no answer is ever read.</summary>
    [Fact]
    public Task A_client_that_asks_and_never_reads_is_held_back() => SurviveAsync(async () =>
    {
        await NeverReadAsync(Enumerable.Range(0, 1000).SelectMany(Requests.ApiVersions).ToArray(), 400);
        return 1;
    });

    [Fact]
    public Task Fetchers_that_never_read_are_held_back() => SurviveAsync(async () =>
    {
        using (var producer = await RawConnection.OpenAsync(Broker.Port))
            for (var i = 0; i < 20; i++)
            {
                await producer.SendAsync(Requests.Produce(Batch.Of(900_000)));
                Assert.Equal(0, Answers.ProduceError(await producer.ReceiveFrameAsync()));
            }

        var fetches = Enumerable.Range(0, 200).SelectMany(i => Requests.Fetch(0, 16 * 1024 * 1024, i)).ToArray();
        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => NeverReadAsync(fetches, 10)));
        return 8;
    });

    /// <summary>The broker's open files once those of earlier attacks are closed: twice the same number.</summary>
    private async Task<int> SettledOpenFilesAsync()
    {
        var before = -1;
        await Poll.UntilAsync("the sockets of earlier attacks are closed", async () =>
        {
            var files = Broker.OpenFiles;
            var isSettled = files == before;
            before = files;
            if (!isSettled)
                await Task.Delay(250);
            return isSettled;
        });
        return before;
    }

    /// <summary>Sends the bytes over and over until the broker takes no more for a while, and reads nothing.</summary>
    private async Task NeverReadAsync(byte[] bytes, int times)
    {
        using var connection = await RawConnection.OpenAsync(Broker.Port, receiveBufferBytes: 4096);
        for (var i = 0; i < times; i++)
        {
            using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(2));
            try
            {
                for (var rest = bytes.AsMemory(); rest.Length > 0;)
                    rest = rest[await connection.Socket.SendAsync(rest, patience.Token)..];
            }
            catch (Exception e) when (e is OperationCanceledException or SocketException)
            {
                return;
            }
        }
    }
}
