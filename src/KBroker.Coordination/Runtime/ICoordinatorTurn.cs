using KBroker.Cluster.Metadata;

namespace KBroker.Coordination.Runtime;

/// <summary>
/// One step of a coordinator's state machine, and all it has of the world: a clock, the metadata, a log, timers and
/// answers. Steps of one shard run one after the other, never two at once; a turn is not used after its step.
/// </summary>
/// <remarks>
/// <para>All records of a turn are appended together. What was appended holds at once for the steps that follow, but
/// answers, of this and of later turns, leave only when it is durable. When an append fails, the turn's answers are
/// errors, and the shard is loaded anew from its log: so nobody has to undo anything.</para>
/// <para>For example a commit: <c>turn.Append(record)</c> replays the record into the state (as loading does) and
/// queues it, <c>turn.Send(reply, response)</c> answers once it is on stable storage.</para>
/// </remarks>
public interface ICoordinatorTurn
{
    /// <summary>The time of this step, epoch milliseconds; the same for the whole step.</summary>
    long NowMs { get; }

    /// <summary>The cluster's metadata as of this step.</summary>
    MetadataImage Metadata { get; }

    /// <summary>
    /// Appends a record and replays it into the state before this call returns
    /// (<see cref="ICoordinatorState.Replay"/>).
    /// </summary>
    /// <param name="record">The record.</param>
    void Append(in CoordinatorRecord record);

    /// <summary>Appends a record without replaying it: the step has changed the state already.</summary>
    /// <param name="record">The record.</param>
    void AppendOnly(in CoordinatorRecord record);

    /// <summary>Gives an answer. It leaves when everything appended so far, by this shard, is durable.</summary>
    /// <typeparam name="T">The response.</typeparam>
    /// <param name="reply">Who waits.</param>
    /// <param name="response">The answer.</param>
    void Send<T>(Reply<T> reply, T response);

    /// <summary>
    /// Runs a step later, on the shard. A timer of the same key is replaced; all timers end with the shard. The step
    /// may come late, and must look whether it is still wanted.
    /// </summary>
    /// <param name="key">Names the timer within the shard, such as <c>session/group/member</c>.</param>
    /// <param name="delayMs">Milliseconds from now.</param>
    /// <param name="step">The step.</param>
    void Schedule(string key, long delayMs, Action<ICoordinatorTurn> step);

    /// <summary>Ends a timer, if there is one.</summary>
    /// <param name="key">Its key.</param>
    void Cancel(string key);

    /// <summary>
    /// Computes something that takes long beside the shard (matching a regular expression against 10,000 topics), and
    /// then runs a step with the result. Work of a key that is replaced or cancelled, or of a shard that is unloaded,
    /// has no step.
    /// </summary>
    /// <typeparam name="T">The result.</typeparam>
    /// <param name="key">Names the work within the shard.</param>
    /// <param name="work">Runs on another thread; must not touch the state.</param>
    /// <param name="step">Gets the result, or the exception that <paramref name="work"/> threw.</param>
    void RunAside<T>(string key, Func<T> work, Action<ICoordinatorTurn, T?, Exception?> step);
}
