using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;

namespace KBroker.Compat.Interchange.Tests.Work;

/// <summary>
/// What happens at the stops of a walk: each one fills topics of its own, goes on with what earlier ones have begun,
/// and leaves something open for the next one. What a broker does not serve is left to those that do.
/// </summary>
internal sealed class Story(Batches batches)
{
    private readonly Producer _idempotent = new(null, batches);
    private readonly Producer _decided = new("decided", batches);
    private readonly Producer _open = new("open", batches);
    private bool _hasTransactions;
    private int _stop;

    public async Task TellAsync(Commands commands)
    {
        var stop = $"stop{++_stop}";
        var fill = new Fill(commands, batches, stop);
        await fill.EverythingAsync();
        await fill.CompactedAsync();
        await IdempotentAsync(commands);
        if (_stop > 1)
            await ChangeEarlierAsync(commands, $"stop{_stop - 1}");
        if (commands.Client.Serves(ApiKey.EndTxn))
        {
            await TransactionsAsync(commands, stop);
        }
        else if (_hasTransactions)
        {
            await AmidTransactionsAsync(commands);
        }

        if (commands.Client.Serves(ApiKey.OffsetCommit))
            await GroupsAsync(commands, stop);
        await SettingsAsync(commands, stop);
    }

    /// <summary>The same producer id goes on at every stop, with its epoch and sequences.</summary>
    private async Task IdempotentAsync(Commands commands)
    {
        var topic = _stop == 1 ? await commands.CreateAsync("idempotent", 2) : await commands.FindAsync("idempotent");
        if (_stop == 1)
            await _idempotent.InitAsync(commands);
        else
            await _idempotent.RepeatAsync(commands, topic, 0);
        for (var i = 0; i < 7; i++)
            await _idempotent.SendAsync(
                commands, topic, i % 2, Batches.Codecs[i % 5], ($"{_stop}.{i}", "once"), ($"{_stop}.{i}", "twice"));
        await _idempotent.RepeatAsync(commands, topic, 1);
    }

    /// <summary>What the stop before created is written to, grown, trimmed, reconfigured and deleted.</summary>
    private async Task ChangeEarlierAsync(Commands commands, string earlier)
    {
        var codecs = await commands.FindAsync($"{earlier}-codecs");
        foreach (var codec in Batches.Codecs)
            for (var i = 0; i < 3; i++)
                await commands.ProduceAsync(
                    codecs, (int)codec, batches.Mixed(codec, 20, Batches.Epoch + 400_000 + (i * 45_000)));
        var appendTime = await commands.FindAsync($"{earlier}-append-time");
        await commands.ProduceAsync(appendTime, 0, batches.Mixed(CompressionType.Zstd, 9, Batches.Epoch));
        await commands.GrowAsync(await commands.FindAsync($"{earlier}-grown"), 7);
        var trimmed = await commands.FindAsync($"{earlier}-trimmed");
        await commands.ProduceAsync(trimmed, 2, batches.Mixed(CompressionType.Snappy, 10, Batches.Epoch));
        await commands.DeleteRecordsAsync(trimmed, 0, 31);
        await commands.ConfigureAsync(
            2, $"{earlier}-configured", ("retention.bytes", null), ("max.message.bytes", "3000000"),
            ("segment.ms", "1000"));
        await commands.DeleteAsync(await commands.FindAsync($"{earlier}-many"));
    }

    /// <summary>
    /// Committed and aborted transactions over several partitions and segments, plain records between them, and one
    /// that stays open; the one that an earlier stop left open is decided.
    /// </summary>
    private async Task TransactionsAsync(Commands commands, string stop)
    {
        if (!_hasTransactions)
            await commands.CreateAsync("transactional", 3, ("segment.ms", "1000"));
        _hasTransactions = true;
        var topic = await commands.FindAsync("transactional");
        if (_open.IsOpen)
        {
            await _open.SendAsync(commands, topic, 1, CompressionType.None, ("late", stop));
            await _open.EndAsync(commands, commit: _stop % 4 == 1);
        }
        else
        {
            await _open.InitAsync(commands);
        }

        await _decided.InitAsync(commands);
        for (var i = 0; i < 6; i++)
        {
            for (var partition = 0; partition < 3; partition++)
                await _decided.SendAsync(
                    commands, topic, partition, Batches.Codecs[i % 5], ($"{i}", stop), ("x", null));
            await commands.ProduceAsync(topic, i % 3, batches.Of(Batches.Epoch + (i * 100_000), ("plain", stop)));
            if (i == 4)
                await _decided.CommitOffsetAsync(commands, "of-transactions", topic, 0, i + (100 * _stop));
            await _decided.EndAsync(commands, commit: i % 2 == 0);
        }

        await _open.SendAsync(commands, topic, 0, CompressionType.Lz4, ("open since", stop));
        await _open.SendAsync(commands, topic, 1, CompressionType.None, ("open since", stop));
        await commands.ProduceAsync(topic, 0, batches.Of(Batches.Epoch, ("behind the open one", stop)));
    }

    /// <summary>Records behind a transaction that is open, on a broker that cannot decide it.</summary>
    private async Task AmidTransactionsAsync(Commands commands)
    {
        var topic = await commands.FindAsync("transactional");
        for (var partition = 0; partition < 3; partition++)
            await commands.ProduceAsync(topic, partition, batches.Of(Batches.Epoch, ("behind", $"at stop {_stop}")));
    }

    private async Task GroupsAsync(Commands commands, string stop)
    {
        var topic = await commands.FindAsync($"{stop}-codecs");
        await Groups.CommitAsync(commands, $"{stop}-simple", topic, 1, 2, 3);
        await Groups.ClassicAsync(commands, $"{stop}-classic", topic, 4, 5);
        if (commands.Client.LevelOf("group.version") >= 1)
            await Groups.ConsumerAsync(commands, $"{stop}-consumer", topic, 6, 7, 8, 9);
        await Groups.CommitAsync(commands, "same-every-time", topic, _stop);
    }

    /// <summary>Dynamic configs of everything that has any, quotas and users.</summary>
    private async Task SettingsAsync(Commands commands, string stop)
    {
        await commands.ConfigureAsync(
            4, "", ("log.cleaner.threads", "1"), ("message.max.bytes", $"{1_048_588 + _stop}"));
        await commands.ConfigureAsync(4, "1", ("background.threads", $"{10 + _stop}"));
        await commands.ConfigureAsync(32, $"{stop}-group", ("consumer.session.timeout.ms", $"{45_000 + _stop}"));
        await commands.ConfigureAsync(16, $"{stop}-metrics", ("interval.ms", "100000"), ("metrics", "org.apache."));
        if (commands.Client.Serves(ApiKey.AlterClientQuotas))
            await commands.PatientlyAsync<AlterClientQuotasResponse>(new AlterClientQuotasRequest
            {
                Entries =
                [
                    new()
                    {
                        Entity =
                        [
                            new() { EntityType = "user", EntityName = stop },
                            new() { EntityType = "client-id", EntityName = null },
                        ],
                        Ops = [new() { Key = "request_percentage", Value = 12.5 + _stop }],
                    },
                ],
            }, a => a.Entries.Single().ErrorCode);
        if (commands.Client.Serves(ApiKey.AlterUserScramCredentials))
            await commands.PatientlyAsync<AlterUserScramCredentialsResponse>(new AlterUserScramCredentialsRequest
            {
                Upsertions =
                [
                    new()
                    {
                        Name = stop,
                        Mechanism = 1,
                        Iterations = 4096 + _stop,
                        Salt = new byte[] { 1, 2, 3 },
                        SaltedPassword = new byte[32],
                    },
                ],
            }, a => a.Results.Single().ErrorCode);
    }
}
