using System.Diagnostics;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Throughput;

/// <summary>
/// A producer's id and epoch, and the requests that give them and end transactions (KIP-890's protocol).
/// </summary>
internal sealed class TransactionWire(ProtocolConnection connection, string? transactionalId)
{
    private const short InitVersion = 5;
    private const short EndVersion = 5;

    /// <summary>What Kafka's producer waits before it asks again whether the transaction before is over.</summary>
    internal const int BackoffMs = 20;

    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(90);

    internal long ProducerId { get; private set; } = -1;

    internal short Epoch { get; private set; } = -1;

    /// <summary>Waits until the coordinator answers, and gets an id.</summary>
    internal void Initialise()
    {
        var request = new InitProducerIdRequest
        {
            TransactionalId = transactionalId,
            TransactionTimeoutMs = 60_000,
            ProducerId = -1,
            ProducerEpoch = -1,
        };
        var clock = Stopwatch.StartNew();
        while (true)
        {
            if (transactionalId is not null)
            {
                connection.Call<FindCoordinatorResponse>(
                    new FindCoordinatorRequest { KeyType = 1, CoordinatorKeys = [transactionalId] }, 4);
            }

            var answer = connection.Call<InitProducerIdResponse>(request, InitVersion);
            if (answer.ErrorCode == ErrorCode.None)
            {
                (ProducerId, Epoch) = (answer.ProducerId, answer.ProducerEpoch);
                return;
            }

            if (clock.Elapsed > Limit) throw new InvalidOperationException($"InitProducerId: {answer.ErrorCode}");
            Thread.Sleep(BackoffMs);
        }
    }

    /// <summary>Commits; id and epoch are those of the next transaction then.</summary>
    internal void Commit()
    {
        var request = new EndTxnRequest
        {
            TransactionalId = transactionalId!,
            ProducerId = ProducerId,
            ProducerEpoch = Epoch,
            Committed = true,
        };
        while (true)
        {
            var answer = connection.Call<EndTxnResponse>(request, EndVersion);
            if (answer.ErrorCode == ErrorCode.None)
            {
                (ProducerId, Epoch) = (answer.ProducerId, answer.ProducerEpoch);
                return;
            }

            if (answer.ErrorCode != ErrorCode.ConcurrentTransactions)
                throw new InvalidOperationException($"EndTxn: {answer.ErrorCode}");
            Thread.Sleep(BackoffMs);
        }
    }
}
