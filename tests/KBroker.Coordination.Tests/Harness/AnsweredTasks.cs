namespace KBroker.Coordination.Tests.Harness;

/// <summary>Answers of a driver, which are there when its step has run.</summary>
internal static class AnsweredTasks
{
    /// <summary>The answer; a failure when there is none yet.</summary>
    public static T Answer<T>(this Task<T> task)
    {
        Assert.True(task.IsCompleted, "nobody has answered yet");
        return task.GetAwaiter().GetResult();
    }
}
