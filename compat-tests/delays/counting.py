"""A port in front of the broker that counts the Fetch requests of each client: a client that loops shows there."""
import collections
import socket
import struct
import threading

from compat import free_ports

FETCH = 1


class CountingPort:
    """Passes connections on to the port that target() names; `fetches` has the requests by client id."""

    def __init__(self, target):
        self.target, self.fetches = target, collections.Counter()
        self.port, = free_ports(1)
        self.bootstrap = f"127.0.0.1:{self.port}"
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        try:
            broker = socket.create_connection(("127.0.0.1", self.target()), timeout=20)
        except OSError:
            client.close()
            return
        broker.settimeout(None)
        for s in (client, broker):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self._pass, args=(broker, client, None), daemon=True).start()
        self._pass(client, broker, bytearray())

    def _pass(self, source, sink, requests):
        try:
            while data := source.recv(65536):
                if requests is not None:
                    requests += data
                    self._count(requests)
                sink.sendall(data)
        except OSError:
            pass
        for s in (source, sink):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _count(self, requests):
        """Takes whole requests off the beginning: length, then api key, version, correlation id, client id."""
        while len(requests) >= 4:
            length, = struct.unpack_from(">i", requests)
            if len(requests) < 4 + length:
                return
            key, _, _, name = struct.unpack_from(">hhih", requests, 4)
            if key == FETCH:
                self.fetches[bytes(requests[14:14 + max(name, 0)]).decode()] += 1
            del requests[:4 + length]
