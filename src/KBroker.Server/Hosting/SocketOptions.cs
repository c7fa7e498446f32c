using KBroker.Cluster.Configuration;

namespace KBroker.Server.Hosting;

/// <summary>Bounds and sizes of connections, with Kafka's property names.</summary>
public sealed class SocketOptions
{
    internal SocketOptions(BrokerConfigValues configs)
    {
        SendBufferBytes = configs.GetInt("socket.send.buffer.bytes");
        ReceiveBufferBytes = configs.GetInt("socket.receive.buffer.bytes");
        ListenBacklogSize = configs.GetInt("socket.listen.backlog.size");
        RequestMaxBytes = configs.GetInt("socket.request.max.bytes");
        MaxConnections = configs.GetInt("max.connections");
        MaxConnectionsPerIp = configs.GetInt("max.connections.per.ip");
        MaxConnectionCreationRate = configs.GetInt("max.connection.creation.rate");
        ConnectionsMaxIdleMs = configs.GetLong("connections.max.idle.ms");
    }

    /// <summary><c>socket.send.buffer.bytes</c>; -1 leaves it to the operating system.</summary>
    public int SendBufferBytes { get; }

    /// <summary><c>socket.receive.buffer.bytes</c>; -1 leaves it to the operating system.</summary>
    public int ReceiveBufferBytes { get; }

    /// <summary><c>socket.listen.backlog.size</c>, in connections.</summary>
    public int ListenBacklogSize { get; }

    /// <summary><c>socket.request.max.bytes</c>: the largest frame accepted, without its length field.</summary>
    public int RequestMaxBytes { get; }

    /// <summary><c>max.connections</c>: connections open at a time.</summary>
    public int MaxConnections { get; }

    /// <summary><c>max.connections.per.ip</c>: connections open from one address at a time.</summary>
    public int MaxConnectionsPerIp { get; }

    /// <summary><c>max.connection.creation.rate</c>, in connections a second.</summary>
    public int MaxConnectionCreationRate { get; }

    /// <summary><c>connections.max.idle.ms</c>; a negative value closes no connection for being idle.</summary>
    public long ConnectionsMaxIdleMs { get; }
}
