namespace KBroker.Storage;

/// <summary>A partition of a topic, by name; its directory is <c>topic-partition</c>.</summary>
/// <param name="Topic">Topic name.</param>
/// <param name="Partition">Partition index, from 0.</param>
public readonly record struct TopicPartition(string Topic, int Partition)
{
    /// <summary>The name of the partition's directory, and how messages name the partition.</summary>
    /// <returns><c>topic-partition</c>.</returns>
    public override string ToString() => $"{Topic}-{Partition}";

    /// <summary>Takes a directory name apart.</summary>
    /// <param name="directoryName">For example <c>orders-eu-12</c>: the partition is behind the last dash.</param>
    /// <param name="partition">Topic <c>orders-eu</c>, partition 12.</param>
    /// <returns>False when the name is not of that form.</returns>
    public static bool TryParse(string directoryName, out TopicPartition partition)
    {
        var dash = directoryName.LastIndexOf('-');
        partition = default;
        if (dash <= 0 || dash == directoryName.Length - 1)
            return false;
        foreach (var c in directoryName.AsSpan(dash + 1))
        {
            if (!char.IsAsciiDigit(c))
                return false;
        }

        if (!int.TryParse(directoryName.AsSpan(dash + 1), out var index))
            return false;
        partition = new TopicPartition(directoryName[..dash], index);
        return true;
    }
}
