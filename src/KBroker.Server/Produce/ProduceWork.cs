using System.Buffers;
using KBroker.Cluster.Replication;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Storage;

namespace KBroker.Server.Produce;

/// <summary>A transactional batch that is appended when the transaction coordinator consents.</summary>
/// <param name="Partition">Where it goes.</param>
/// <param name="Records">The batch, in the request.</param>
/// <param name="Verification">The question.</param>
/// <param name="Answer">Its part of the response.</param>
internal readonly record struct UnverifiedAppend(
    Partition Partition,
    ReadOnlySequence<byte> Records,
    TransactionVerification Verification,
    ProduceResponse.PartitionProduceResponse Answer);

/// <summary>A Produce request on its way through the handler.</summary>
/// <param name="request">The request.</param>
/// <param name="context">Its context.</param>
internal sealed class ProduceWork(ProduceRequest request, RequestContext context)
{
    /// <summary>The request.</summary>
    public ProduceRequest Request { get; } = request;

    /// <summary>Its context.</summary>
    public RequestContext Context { get; } = context;

    /// <summary>The response, as far as it is known.</summary>
    public ProduceResponse Response { get; } = new();

    /// <summary>What to wait for before answering; null unless acks=all.</summary>
    public List<PendingAppend>? Pending { get; } = request.Acks == -1 ? new List<PendingAppend>(1) : null;

    /// <summary>What is to be verified first; null when there is nothing.</summary>
    public List<UnverifiedAppend>? Unverified { get; set; }

    /// <summary>An error of one of the appends.</summary>
    public ErrorCode Failed { get; set; }
}
