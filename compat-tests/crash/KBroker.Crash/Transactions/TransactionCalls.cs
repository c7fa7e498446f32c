using Confluent.Kafka;

namespace KBroker.Crash.Transactions;

/// <summary>The calls of a transactional Confluent producer, asked again as its documentation says.</summary>
internal static class TransactionCalls
{
    private static readonly TimeSpan Slice = TimeSpan.FromSeconds(2);

    /// <summary>InitTransactions.</summary>
    /// <param name="producer">The producer.</param>
    /// <param name="isStopping">Whether to give up.</param>
    /// <param name="failure">Why it is good for nothing; null when it was given up.</param>
    public static bool Initialise(IProducer<byte[], byte[]> producer, Func<bool> isStopping, out string? failure)
    {
        failure = null;
        while (!isStopping())
        {
            try
            {
                producer.InitTransactions(Slice);
                return true;
            }
            catch (KafkaException e) when (!e.Error.IsFatal && IsRetriable(e))
            {
            }
            catch (KafkaException e)
            {
                failure = $"InitTransactions: {e.Error.Code} {e.Error.Reason}";
                return false;
            }
        }

        return false;
    }

    /// <summary>Ends a transaction; what cannot be committed is aborted.</summary>
    /// <returns>Whether it was committed; null when nobody knows.</returns>
    public static bool? End(
        IProducer<byte[], byte[]> producer, bool isCommit, Func<bool> isStopping, out string? failure)
    {
        failure = null;
        while (!isStopping())
        {
            try
            {
                if (isCommit)
                    producer.CommitTransaction(Slice);
                else
                    producer.AbortTransaction(Slice);
                return isCommit;
            }
            catch (KafkaTxnRequiresAbortException)
            {
                isCommit = false;
            }
            catch (KafkaException e) when (!e.Error.IsFatal && IsRetriable(e))
            {
            }
            catch (KafkaException e)
            {
                failure = $"{(isCommit ? "Commit" : "Abort")}Transaction: {e.Error.Code} {e.Error.Reason}";
                return null;
            }
        }

        return null;
    }

    /// <summary>SendOffsetsToTransaction.</summary>
    /// <returns>False when the transaction has to be aborted.</returns>
    public static bool SendOffsets(
        IProducer<byte[], byte[]> producer,
        IReadOnlyList<TopicPartitionOffset> offsets,
        IConsumerGroupMetadata group,
        Func<bool> isStopping)
    {
        while (!isStopping())
        {
            try
            {
                producer.SendOffsetsToTransaction(offsets, group, Slice);
                return true;
            }
            catch (KafkaException e) when (e is not KafkaTxnRequiresAbortException && !e.Error.IsFatal && IsRetriable(e))
            {
            }
            catch (KafkaException)
            {
                return false;
            }
        }

        return false;
    }

    private static bool IsRetriable(KafkaException e) => e is KafkaRetriableException
        || e.Error.Code is ErrorCode.Local_TimedOut or ErrorCode.Local_InProgress or ErrorCode.Local_Transport;
}
