using KBroker.Storm.Members;

namespace KBroker.Storm.Workers;

/// <summary>
/// A process with members: it reads <c>join SETTINGS</c>, <c>leave NAME</c> and <c>quit</c>, a line each, and writes
/// what happens to the members, an event a line. Its input ends when its parent does.
/// </summary>
internal static class WorkerHost
{
    /// <summary>Serves until <c>quit</c> or the end of the input.</summary>
    public static async Task RunAsync()
    {
        Librdkafka.Resolve(clientToo: true);
        var members = new Dictionary<string, GroupMember>();
        var output = new Lock();
        var writer = new StreamWriter(Console.OpenStandardOutput()) { AutoFlush = true };
        while (await Console.In.ReadLineAsync() is { } line && line != "quit")
        {
            var (verb, rest) = (line[..line.IndexOf(' ')], line[(line.IndexOf(' ') + 1)..]);
            if (verb == "join")
            {
                var settings = MemberSettings.Parse(rest);
                members[settings.Name] = new GroupMember(settings, happened =>
                {
                    lock (output)
                        writer.WriteLine(happened);
                });
            }
            else if (verb == "leave" && members.Remove(rest, out var member))
            {
                _ = member.LeaveAsync();
            }
        }

        await Task.WhenAll(members.Values.Select(static m => m.LeaveAsync()));
    }
}
