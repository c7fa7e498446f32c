using System.Buffers.Binary;
using System.Diagnostics;
using System.Net.Sockets;

namespace KBroker.Throughput;

/// <summary>Runs <see cref="RawServer"/> in a process of its own and drives it.</summary>
internal sealed class RawTarget : IDisposable
{
    private readonly Settings _settings;
    private readonly Process _process;
    private readonly string _folder;
    private readonly int _port = BrokerProcess.FreePort();

    internal RawTarget(Settings settings)
    {
        _settings = settings;
        _folder = Path.Combine(settings.Directory, $"kbroker-bench-{Environment.ProcessId}-raw");
        Directory.CreateDirectory(_folder);
        var start = new ProcessStartInfo(Environment.ProcessPath!, [RawServer.Mode, $"{_port}", _folder])
        {
            RedirectStandardInput = true,
        };
        _process = Process.Start(start)!;
        while (true)
        {
            try
            {
                using var probe = new ProtocolConnection(_port);
                return;
            }
            catch (SocketException) when (!_process.HasExited)
            {
                Thread.Sleep(5);
            }
        }
    }

    internal int Id => _process.Id;

    /// <summary>Runs an operation over all connections at once.</summary>
    internal void Run(RawOperation operation, long bytes, int step)
    {
        long volume = bytes / _settings.Connections / step * step;
        DirectDriver.InThreads(_settings.Connections, index =>
        {
            using var connection = new ProtocolConnection(_port, _settings.FetchBytes + (64 * 1024));
            var request = new byte[RawServer.RequestBytes];
            request[0] = (byte)operation;
            BinaryPrimitives.WriteInt64BigEndian(request.AsSpan(1), volume);
            BinaryPrimitives.WriteInt32BigEndian(request.AsSpan(9), step);
            BinaryPrimitives.WriteInt32BigEndian(request.AsSpan(13), index);
            connection.SendBytes(request);
            if (operation is RawOperation.SendMemory or RawOperation.SendFile)
            {
                connection.Discard(volume);
                return;
            }

            if (operation is RawOperation.Receive or RawOperation.ReceiveToFile)
            {
                var bytesToSend = new byte[step];
                new Random(index).NextBytes(bytesToSend);
                for (long sent = 0; sent < volume; sent += step) connection.SendBytes(bytesToSend);
            }

            connection.Discard(1);
        });
    }

    internal void DeleteFiles()
    {
        foreach (string file in Directory.GetFiles(_folder)) File.Delete(file);
    }

    public void Dispose()
    {
        _process.StandardInput.Close();
        if (!_process.WaitForExit(5000)) _process.Kill();
        _process.Dispose();
        Directory.Delete(_folder, recursive: true);
    }
}
