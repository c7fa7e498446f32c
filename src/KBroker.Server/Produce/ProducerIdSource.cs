using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Server.Produce;

/// <summary>
/// Hands out producer ids, each once in the life of the cluster. They come in blocks from the controller, which writes
/// each block to the metadata log before it gives it away; a crash loses the rest of a block, never repeats an id.
/// </summary>
/// <param name="controller">Gives blocks.</param>
/// <param name="brokerId">This broker's id.</param>
/// <param name="brokerEpoch">This broker's epoch, known once it is registered.</param>
public sealed class ProducerIdSource(IController controller, int brokerId, Func<long> brokerEpoch)
{
    private readonly Lock _lock = new();
    private readonly SemaphoreSlim _refill = new(1, 1);
    private long _next;
    private long _end;

    /// <summary>Takes the next id.</summary>
    /// <param name="cancellation">Stops the waiting for a new block.</param>
    /// <returns>The id, or the controller's error.</returns>
    public async ValueTask<(ErrorCode Error, long ProducerId)> NextAsync(CancellationToken cancellation)
    {
        if (TryTake(out var producerId))
            return (ErrorCode.None, producerId);
        await _refill.WaitAsync(cancellation).ConfigureAwait(false);
        try
        {
            while (!TryTake(out producerId))
            {
                var request = new AllocateProducerIdsRequest { BrokerId = brokerId, BrokerEpoch = brokerEpoch() };
                var block = await controller.AllocateProducerIdsAsync(request, cancellation).ConfigureAwait(false);
                if (block.ErrorCode != ErrorCode.None)
                    return (block.ErrorCode, -1);
                lock (_lock)
                {
                    _next = block.ProducerIdStart;
                    _end = block.ProducerIdStart + block.ProducerIdLen;
                }
            }

            return (ErrorCode.None, producerId);
        }
        finally
        {
            _refill.Release();
        }
    }

    private bool TryTake(out long producerId)
    {
        lock (_lock)
        {
            producerId = _next;
            if (_next >= _end)
                return false;
            _next++;
            return true;
        }
    }
}
