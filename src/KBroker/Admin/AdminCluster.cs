using System.Globalization;
using KBroker.Protocol;
using KBroker.Protocol.Messages;

namespace KBroker.Admin;

/// <summary>A partition that a command works on, and who leads it.</summary>
/// <param name="Topic">The topic's name.</param>
/// <param name="TopicId">The topic's id.</param>
/// <param name="Index">The partition's number.</param>
/// <param name="LeaderId">The node that leads it.</param>
internal sealed record AdminPartition(string Topic, Uuid TopicId, int Index, int LeaderId);

/// <summary>The brokers of a cluster, as a command sees them: found by one of them, connected when needed.</summary>
/// <param name="bootstrapServers">Where to begin: one or more HOST:PORT.</param>
internal sealed class AdminCluster(IReadOnlyList<string> bootstrapServers) : IDisposable
{
    private readonly Dictionary<int, (string Host, int Port)> _brokers = [];
    private readonly Dictionary<int, AdminConnection> _connections = [];
    private AdminConnection? _first;

    /// <summary>The brokers; known after a call of FindAsync.</summary>
    public IEnumerable<int> Brokers => _brokers.Keys.Order();

    /// <summary>Splits HOST:PORT, or [IPV6]:PORT.</summary>
    public static bool TryParse(string server, out string host, out int port)
    {
        var colon = server.LastIndexOf(':');
        host = colon > 0 ? server[..colon].Trim('[', ']') : "";
        port = 0;
        return host.Length > 0
            && int.TryParse(server.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out port)
            && port is > 0 and < 65536;
    }

    /// <summary>Finds the brokers, and the partitions of topics.</summary>
    /// <param name="topics">The topics; none for the brokers alone.</param>
    /// <param name="cancellation">Ends the waiting.</param>
    /// <returns>All partitions of these topics, in order.</returns>
    /// <exception cref="AdminException">No broker can be reached, or there is no such topic.</exception>
    public async Task<List<AdminPartition>> FindAsync(
        IReadOnlyCollection<string> topics, CancellationToken cancellation)
    {
        _first ??= await OpenFirstAsync(cancellation).ConfigureAwait(false);
        var request = new MetadataRequest { Topics = [], AllowAutoTopicCreation = false };
        foreach (var topic in topics)
            request.Topics.Add(new MetadataRequest.MetadataRequestTopic { Name = topic });
        var metadata = await _first.CallAsync<MetadataResponse>(request, cancellation).ConfigureAwait(false);
        foreach (var broker in metadata.Brokers)
            _brokers[broker.NodeId] = (broker.Host, broker.Port);
        var found = new List<AdminPartition>();
        foreach (var topic in metadata.Topics)
        {
            if (topic.ErrorCode == ErrorCode.UnknownTopicOrPartition)
                throw new AdminException($"There is no topic {topic.Name}.");
            if (topic.ErrorCode != ErrorCode.None)
                throw new AdminException($"Topic {topic.Name}: {ErrorCodes.Name(topic.ErrorCode)}.");
            found.AddRange(topic.Partitions.OrderBy(static p => p.PartitionIndex).Select(
                p => new AdminPartition(topic.Name!, topic.TopicId, p.PartitionIndex, p.LeaderId)));
        }

        return found;
    }

    /// <summary>Finds one partition.</summary>
    /// <exception cref="AdminException">There is no such partition.</exception>
    public async Task<AdminPartition> FindAsync(string topic, int index, CancellationToken cancellation)
    {
        var all = await FindAsync([topic], cancellation).ConfigureAwait(false);
        return all.Find(p => p.Index == index)
            ?? throw new AdminException($"Topic {topic} has partitions 0 to {all.Count - 1}, not {index}.");
    }

    /// <summary>The connection to a broker.</summary>
    /// <exception cref="AdminException">It cannot be reached.</exception>
    public async Task<AdminConnection> ConnectAsync(int nodeId, CancellationToken cancellation)
    {
        if (_connections.TryGetValue(nodeId, out var connection))
            return connection;
        if (!_brokers.TryGetValue(nodeId, out var address))
            throw new AdminException($"Broker {nodeId} is not known.");
        connection = await AdminConnection.OpenAsync(address.Host, address.Port, cancellation).ConfigureAwait(false);
        return _connections[nodeId] = connection;
    }

    /// <summary>The connection to a partition's leader.</summary>
    /// <exception cref="AdminException">It has none, or that cannot be reached.</exception>
    public Task<AdminConnection> ConnectAsync(AdminPartition partition, CancellationToken cancellation) =>
        partition.LeaderId >= 0
            ? ConnectAsync(partition.LeaderId, cancellation)
            : throw new AdminException($"{partition.Topic}-{partition.Index} has no leader at present.");

    public void Dispose()
    {
        _first?.Dispose();
        foreach (var connection in _connections.Values)
            connection.Dispose();
    }

    private async Task<AdminConnection> OpenFirstAsync(CancellationToken cancellation)
    {
        var problems = new List<string>();
        foreach (var server in bootstrapServers)
        {
            _ = TryParse(server, out var host, out var port);
            try
            {
                return await AdminConnection.OpenAsync(host, port, cancellation).ConfigureAwait(false);
            }
            catch (AdminException unreachable)
            {
                problems.Add(unreachable.Message);
            }
        }

        throw new AdminException($"{string.Join(' ', problems)} --bootstrap-server names a broker that runs.");
    }
}
