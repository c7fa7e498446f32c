namespace KBroker.Protocol.Records.Delivery;

/// <summary>What a record has to do with a check-back transaction: the values of <c>kbroker-txn</c>.</summary>
public enum HalfRequest
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>It is a half message: hidden until somebody decides.</summary>
    Prepare,

    /// <summary>It decides that a half message is delivered.</summary>
    Commit,

    /// <summary>It decides that a half message is dropped.</summary>
    Rollback,
}
