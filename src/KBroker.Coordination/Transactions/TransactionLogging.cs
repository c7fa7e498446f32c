using Microsoft.Extensions.Logging;

namespace KBroker.Coordination.Transactions;

/// <summary>The log lines of transactions.</summary>
internal static class TransactionLogging
{
    /// <summary>A transaction took too long.</summary>
    /// <param name="logger">The log.</param>
    /// <param name="transactionalId">Whose.</param>
    /// <param name="producerId">The producer.</param>
    /// <param name="timeoutMs">How long it was allowed to take, milliseconds.</param>
    public static void LogTimeout(this ILogger logger, string transactionalId, long producerId, int timeoutMs) =>
        logger.LogInformation(
            "The transaction of {TransactionalId} (producer id {ProducerId}) is aborted: it was not ended within its "
            + "timeout of {TimeoutMs} ms",
            transactionalId, producerId, timeoutMs);
}
