using System.Net.Sockets;
using KBroker.Crash.Load;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Protocol.Records;
using KBroker.Throughput;

namespace KBroker.Crash.Transactions;

/// <summary>The connection was lost, or the client is to stop: what was asked has no answer.</summary>
internal sealed class GivenUpException : Exception;

/// <summary>
/// The raw requests of an idempotent or a transactional producer: each is sent again until it is answered, or given up
/// when its connection is lost.
/// </summary>
/// <param name="port">The broker's.</param>
/// <param name="transactionalId">The transactional id; null without transactions.</param>
/// <param name="isClassic">TV1: it adds partitions itself, and its epoch stays; else TV2 (KIP-890).</param>
/// <param name="giveUpPercent">How often a lost connection is a reason to give up.</param>
/// <param name="random">Decides that.</param>
/// <param name="isStopping">Whether to give up at once.</param>
internal sealed class ProducerSession(
    int port, string? transactionalId, bool isClassic, int giveUpPercent, Random random, Func<bool> isStopping)
    : IDisposable
{
    private const int TimeoutMs = 20_000;
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(5);
    private ProtocolConnection? _connection;

    /// <summary>Its producer id, -1 before <see cref="Initialise"/>.</summary>
    public long ProducerId { get; private set; } = -1;

    public short Epoch { get; private set; } = -1;

    /// <summary>What it waits for.</summary>
    public string Doing { get; set; } = "";

    /// <summary>Whether a connection was lost since this was set to false.</summary>
    public bool WasLost { get; set; }

    /// <summary>InitProducerId, which also ends what an earlier incarnation has left.</summary>
    public void Initialise(int transactionTimeoutMs)
    {
        Doing = "InitProducerId";
        // The coordinator's topic is created by whoever looks for its coordinator.
        if (transactionalId is not null)
            FindCoordinator(1, transactionalId);
        var answer = Ask<InitProducerIdResponse>(
            new InitProducerIdRequest
            {
                TransactionalId = transactionalId,
                TransactionTimeoutMs = transactionTimeoutMs,
            },
            4,
            static r => r.ErrorCode,
            mayGiveUp: false);
        (ProducerId, Epoch) = (answer.ProducerId, answer.ProducerEpoch);
    }

    public void FindCoordinator(sbyte type, string key) => Ask<FindCoordinatorResponse>(
        new FindCoordinatorRequest { KeyType = type, CoordinatorKeys = [key] }, 4,
        static r => r.Coordinators[0].ErrorCode);

    /// <summary>Tells the coordinator which partitions a transaction writes to; for TV1.</summary>
    public void AddPartitions(IEnumerable<Place> places)
    {
        Doing = "AddPartitionsToTxn";
        Ask<AddPartitionsToTxnResponse>(
            new AddPartitionsToTxnRequest
            {
                V3AndBelowTransactionalId = transactionalId!,
                V3AndBelowProducerId = ProducerId,
                V3AndBelowProducerEpoch = Epoch,
                V3AndBelowTopics =
                [
                    .. places.GroupBy(static p => p.Topic).Select(static t =>
                        new AddPartitionsToTxnRequest.AddPartitionsToTxnTopic
                        {
                            Name = t.Key,
                            Partitions = [.. t.Select(static p => p.Partition)],
                        }),
                ],
            },
            3,
            static r => r.ResultsByTopicV3AndBelow[0].ResultsByPartition[0].PartitionErrorCode);
    }

    /// <summary>Produces a batch with acks=all; a retry is the same request, byte for byte.</summary>
    /// <returns>The offset of its first record.</returns>
    public long Produce(Place place, byte[] batch)
    {
        Doing = $"Produce {place}";
        return Ask<ProduceResponse>(
            new ProduceRequest
            {
                TransactionalId = transactionalId,
                Acks = -1,
                TimeoutMs = TimeoutMs,
                TopicData =
                [
                    new()
                    {
                        Name = place.Topic,
                        PartitionData = [new() { Index = place.Partition, Records = new Records(batch) }],
                    },
                ],
            },
            (short)(isClassic ? 11 : 12),
            static r => r.Responses[0].PartitionResponses[0].ErrorCode).Responses[0].PartitionResponses[0].BaseOffset;
    }

    /// <summary>EndTxn.</summary>
    public void End(bool isCommit)
    {
        Doing = $"EndTxn {(isCommit ? "commit" : "abort")}";
        var answer = Ask<EndTxnResponse>(
            new EndTxnRequest
            {
                TransactionalId = transactionalId!,
                ProducerId = ProducerId,
                ProducerEpoch = Epoch,
                Committed = isCommit,
            },
            (short)(isClassic ? 4 : 5),
            static r => r.ErrorCode);
        if (!isClassic)
            (ProducerId, Epoch) = (answer.ProducerId, answer.ProducerEpoch);
    }

    /// <summary>Sends a request until it is answered with something other than "later".</summary>
    /// <exception cref="WireException">An answer that no client should get.</exception>
    /// <exception cref="GivenUpException">The connection was lost, and this producer begins anew.</exception>
    public T Ask<T>(IRequestMessage request, short version, Func<T, ErrorCode> errorOf, bool mayGiveUp = true)
        where T : IMessage<T>
    {
        while (!isStopping())
        {
            try
            {
                _connection ??= new ProtocolConnection(port, receiveTimeoutMs: TimeoutMs);
                var answer = _connection.Call<T>(request, version);
                var error = errorOf(answer);
                if (error == ErrorCode.None)
                    return answer;
                if (!IsTransient(error))
                    throw new WireException(error, Doing);
            }
            catch (Exception e) when (e is SocketException or IOException)
            {
                var wasConnected = _connection is not null;
                _connection?.Dispose();
                _connection = null;
                WasLost = true;
                if (mayGiveUp && wasConnected && random.Next(100) < giveUpPercent)
                    throw new GivenUpException();
            }

            Thread.Sleep(Pause);
        }

        throw new GivenUpException();
    }

    public void Dispose() => _connection?.Dispose();

    private static bool IsTransient(ErrorCode error) => error is ErrorCode.ConcurrentTransactions
        or ErrorCode.CoordinatorLoadInProgress or ErrorCode.NotCoordinator or ErrorCode.CoordinatorNotAvailable
        or ErrorCode.NotEnoughReplicas or ErrorCode.NotLeaderOrFollower or ErrorCode.LeaderNotAvailable
        or ErrorCode.UnknownTopicOrPartition;
}
