namespace KBroker.Timing;

/// <summary>Where a <see cref="SystemTimer"/> runs the tasks that have become due.</summary>
public interface ITaskExecutor
{
    /// <summary>
    /// Runs <paramref name="work"/> now or soon by calling its <see cref="IThreadPoolWorkItem.Execute"/> once.
    /// The timer holds no lock while it calls this, so running inline is allowed.
    /// </summary>
    void Submit(IThreadPoolWorkItem work);
}

/// <summary>Runs due tasks on the shared thread pool, without an allocation for each.</summary>
public sealed class ThreadPoolExecutor : ITaskExecutor
{
    /// <inheritdoc/>
    public void Submit(IThreadPoolWorkItem work) => ThreadPool.UnsafeQueueUserWorkItem(work, preferLocal: false);
}

/// <summary>
/// Runs due tasks on the thread that moves the clock: for tests and for simulations in one thread, where the order
/// of everything must follow from the order of the calls.
/// </summary>
public sealed class InlineExecutor : ITaskExecutor
{
    /// <inheritdoc/>
    public void Submit(IThreadPoolWorkItem work)
    {
        ArgumentNullException.ThrowIfNull(work);
        work.Execute();
    }
}
