namespace KBroker.Protocol.Records;

/// <summary>Who set the timestamps of a batch (<c>message.timestamp.type</c>): bit 3 of the batch attributes.</summary>
public enum TimestampType : sbyte
{
    /// <summary>The producer's clock, one timestamp a record.</summary>
    CreateTime = 0,

    /// <summary>The broker's clock: the batch's max timestamp holds for each of its records.</summary>
    LogAppendTime = 1,
}
