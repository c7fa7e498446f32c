using System.CommandLine;

namespace KBroker;

/// <summary>A command whose help says more, below the options.</summary>
/// <param name="name">Its name.</param>
/// <param name="description">One sentence.</param>
/// <param name="details">What the help ends with.</param>
internal sealed class DetailedCommand(string name, string description, string details) : Command(name, description)
{
    /// <summary>What the help ends with.</summary>
    public string Details { get; } = details;
}
