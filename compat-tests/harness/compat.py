"""What every Python suite of the compat tests shares: the broker process, a small test runner, a reader of log files.

A suite is a script that makes a `Suite`, registers functions with `@suite.test`, and ends with `suite.main()`. The broker
is the real `kbroker` executable, or Apache Kafka with `--target kafka`: one process on a free port of 127.0.0.1 with a
fresh temporary directory, stopped by SIGTERM. Its log is printed when a test of the suite failed.
"""
import argparse
import errno
import itertools
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
# Groups of the consumer protocol whose coordinator misses the dead, and talks to the living, soon.
QUICK_GROUPS = {
    "group.consumer.min.session.timeout.ms": "6000",
    "group.consumer.session.timeout.ms": "8000",
    "group.consumer.min.heartbeat.interval.ms": "300",
    "group.consumer.heartbeat.interval.ms": "300",
    "group.consumer.assignment.interval.ms": "50",
}
START_SECONDS = 120
STOP_SECONDS = 30


class Skip(Exception):
    """Raised by a test, or while its suite is set up, when the machine lacks something; the text says what."""


def kafka_home(explicit=None):
    """The unpacked Apache Kafka: explicit, else $KAFKA_HOME, else ../shared/peers/kafka beside the repository, else None."""
    for home in (explicit, os.environ.get("KAFKA_HOME"), os.path.join(REPO, "..", "shared", "peers", "kafka")):
        if home:
            return os.path.realpath(home) if os.path.isfile(os.path.join(home, "bin", "kafka-run-class.sh")) else None
    return None


def kbroker_command():
    """The executable under test: $KBROKER_EXE, else artifacts/kbroker/kbroker of this repository."""
    path = os.environ.get("KBROKER_EXE") or os.path.join(REPO, "artifacts", "kbroker", "kbroker")
    if not os.access(path, os.X_OK):
        sys.exit(f"no broker at {os.path.relpath(path)}; build it with ./run --build-only")
    return path


def need_tool(name):
    path = shutil.which(name)
    if path is None:
        raise Skip(f"no {name} on this machine (compat-tests/install)")
    return path


def free_ports(count):
    """Ports of 127.0.0.1 that nobody listened on a moment ago, all different. They lie below those that the system gives to
    outgoing connections: such a one could be gone again before a broker that starts slowly binds it."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            while True:
                try:
                    s.bind(("127.0.0.1", random.randrange(10000, 20000)))
                    break
                except OSError as problem:
                    if problem.errno != errno.EADDRINUSE:
                        raise
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


def poll(what, condition, seconds=60, interval=0.05):
    """Waits until condition() is truthy, and returns its value; a timeout names what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(interval)


class Broker:
    """One broker process of the target. Use as a context manager; `bootstrap`, `port`, `data`, `pid` while it runs."""

    def __init__(self, target="kbroker", home=None, overrides=None):
        self.target, self.home = target, home
        self.dir = tempfile.mkdtemp(prefix=f"kbroker-compat-{target}-")
        self.port, self.controller_port = free_ports(2)
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.data = os.path.join(self.dir, "data")
        self.log_path = os.path.join(self.dir, "broker.log")
        self.config = os.path.join(self.dir, "server.properties")
        self.process = None
        self._write_config(overrides or {})

    def _write_config(self, overrides):
        controller = f"127.0.0.1:{self.controller_port}"
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{controller}",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": self.data,
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
        }
        settings.update(overrides)
        with open(self.config, "w", encoding="utf-8") as f:
            f.writelines(f"{k}={v}\n" for k, v in settings.items())

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    @property
    def pid(self):
        return self.process.pid

    def start(self):
        env, command = dict(os.environ), None
        if self.target == "kafka":
            if self.home is None:
                raise Skip("no Apache Kafka here (--kafka-home DIR or KAFKA_HOME)")
            need_tool("java")
            binaries = os.path.join(self.home, "bin")
            env.update(KAFKA_HEAP_OPTS="-Xmx768m -Xms256m", LOG_DIR=self.dir)
            log4j = os.path.join(self.home, "config", "server-log4j2.yaml")
            if os.path.isfile(log4j):
                env["KAFKA_LOG4J_OPTS"] = f"-Dlog4j2.configurationFile={log4j}"
            if not os.path.exists(os.path.join(self.data, "meta.properties")):
                done = subprocess.run([os.path.join(binaries, "kafka-storage.sh"), "format", "-t", "KBrokerPeerKafkaCluster",
                                       "-c", self.config], env=env, capture_output=True, text=True)
                if done.returncode != 0:
                    raise AssertionError("kafka-storage format failed: " + done.stdout + done.stderr)
            command = [os.path.join(binaries, "kafka-server-start.sh"), self.config]
        else:
            command = [kbroker_command(), "serve", "--config", self.config]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, cwd=self.dir, env=env, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, start_new_session=True)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.process.poll() is not None:
                raise AssertionError(f"the broker ended with {self.process.returncode} while starting\n{self.log_tail()}")
            if time.monotonic() > deadline:
                self.stop(signal.SIGKILL)
                raise AssertionError(f"the broker was not ready after {START_SECONDS} s\n{self.log_tail()}")
            time.sleep(0.05)

    def _answers(self):
        """Ready means: Metadata version 1 names at least one broker."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as s:
                s.settimeout(20)
                s.sendall(frame(3, 1, struct.pack(">i", 0)))
                body = read_frame(s)
                return struct.unpack_from(">i", body, 4)[0] > 0
        except (OSError, struct.error):
            return False

    def stop(self, signal_number=signal.SIGTERM):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal_number)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise AssertionError(f"the broker did not stop within {STOP_SECONDS} s of SIGTERM")

    def log_text(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def log_tail(self, lines=40, width=240):
        return "\n".join(line[:width] for line in self.log_text().splitlines()[-lines:])

    def partition_batches(self, topic, partition=0):
        """The batches of all segments of a partition, oldest first, as (base offset, attributes, record count)."""
        folder = os.path.join(self.data, f"{topic}-{partition}")
        for name in sorted(os.listdir(folder)):
            if name.endswith(".log"):
                yield from log_batches(os.path.join(folder, name))


def log_batches(path):
    """(base offset, attributes, record count) of each v2 batch of a segment file."""
    with open(path, "rb") as f:
        data = f.read()
    position = 0
    while position + 61 <= len(data):
        base, length = struct.unpack_from(">qi", data, position)
        attributes, = struct.unpack_from(">h", data, position + 21)
        count, = struct.unpack_from(">i", data, position + 57)
        if length <= 0:
            return
        yield base, attributes, count
        position += 12 + length


def frame(api_key, version, body, correlation=1, client="compat"):
    """A request frame with header version 1 (non-flexible requests)."""
    name = client.encode()
    header = struct.pack(">hhih", api_key, version, correlation, len(name)) + name
    return struct.pack(">i", len(header) + len(body)) + header + body


def read_frame(s):
    """The body of one response frame with header version 0 (the correlation id is stripped)."""
    def exactly(n):
        data = b""
        while len(data) < n:
            part = s.recv(n - len(data))
            if not part:
                raise OSError("connection closed")
            data += part
        return data
    return exactly(struct.unpack(">i", exactly(4))[0])[4:]


class Suite:
    """Tests that share one broker process. Every test gets the broker; topic names come from `topic()`."""

    def __init__(self, name, overrides=None):
        self.name, self.overrides = name, overrides or {}
        self.tests, self.requirements, self.delegates = [], [], []
        self._numbers = itertools.count(1)
        self.broker = None
        self.args = None

    def require(self, function):
        """Registers a function that raises Skip when the whole suite cannot run here."""
        self.requirements.append(function)
        return function

    def test(self, function=None, *, each=None, slow=False):
        """Registers a test; with each=[...] one test a value. slow ones are left out by --quick."""
        def add(f):
            title = f.__name__.replace("_", " ")
            for value in each or [None]:
                arguments = () if value is None else (value,)
                self.tests.append((title if value is None else f"{title} [{value}]", f, arguments, slow))
            return f
        return add(function) if function else add

    def delegate(self, command):
        """Adds a program that runs tests of its own against the broker: $KBROKER_BOOTSTRAP, $KBROKER_DATA, $KBROKER_QUICK and
        $KBROKER_FILTER say how; it prints a line `ok NAME`, `FAIL NAME` or `SKIPPED NAME` a test, and ends with code 0 or 1."""
        self.delegates.append(command)

    def topic(self, stem="topic"):
        return f"{stem}-{next(self._numbers)}"

    def main(self):
        self.args = parser(self.name).parse_args()
        started = time.monotonic()
        passed, failed, skipped = self._run()
        print(f"{passed} passed, {failed} failed, {skipped} skipped ({self.name}, {time.monotonic() - started:.0f} s)", flush=True)
        sys.exit(1 if failed else 0)

    def _run(self):
        try:
            for requirement in self.requirements:
                requirement()
            broker = Broker(self.args.target, kafka_home(self.args.kafka_home), self.overrides)
            self.broker = broker
        except Skip as reason:
            print(f"SKIPPED {self.name}: {reason}", flush=True)
            return 0, 0, 1
        counts = [0, 0, 0]
        try:
            with broker:
                for title, function, arguments, slow in self.tests:
                    if self._wanted(title, slow):
                        counts[self._one(title, function, arguments, broker)] += 1
                for command in self.delegates:
                    counts = [a + b for a, b in zip(counts, self._delegated(command, broker))]
                if counts[1]:
                    print(f"---- end of the {self.args.target} log ({broker.dir})\n{broker.log_tail()}\n----", flush=True)
        except Skip as reason:
            print(f"SKIPPED {self.name}: {reason}", flush=True)
            counts[2] += 1
        except AssertionError as problem:
            print(f"FAIL {self.name}: {problem}", flush=True)
            counts[1] += 1
        return counts

    def _wanted(self, title, slow):
        if slow and self.args.quick:
            return False
        return not self.args.filter or any(f in title for f in self.args.filter)

    def _delegated(self, command, broker):
        env = dict(os.environ, KBROKER_BOOTSTRAP=broker.bootstrap, KBROKER_DATA=broker.data,
                   KBROKER_QUICK="1" if self.args.quick else "", KBROKER_FILTER="\n".join(self.args.filter or []))
        counts, words = [0, 0, 0], ("ok ", "FAIL ", "SKIPPED ")
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in process.stdout:
            print(line, end="", flush=True)
            for i, word in enumerate(words):
                counts[i] += line.startswith(word)
        code = process.wait()
        if code != 0 and counts[1] == 0:
            print(f"FAIL {command[0]} ended with {code}", flush=True)
            counts[1] += 1
        return counts

    @staticmethod
    def _one(title, function, arguments, broker):
        started = time.monotonic()
        try:
            function(broker, *arguments)
        except Skip as reason:
            print(f"SKIPPED {title}: {reason}", flush=True)
            return 2
        except Exception:  # a test may fail in any way its client can
            trace = traceback.format_exc().rstrip()
            print(f"FAIL {title} ({time.monotonic() - started:.1f} s)\n    " + trace.replace("\n", "\n    "), flush=True)
            return 1
        print(f"ok {title} ({time.monotonic() - started:.1f} s)", flush=True)
        return 0


def parser(name):
    p = argparse.ArgumentParser(prog=f"compat-tests/{name}/run", description=f"The {name} compat tests.")
    p.add_argument("--target", choices=["kbroker", "kafka"], default=os.environ.get("KBROKER_COMPAT_TARGET", "kbroker"))
    p.add_argument("--kafka-home", help="an unpacked Apache Kafka (default: $KAFKA_HOME, ../shared/peers/kafka)")
    p.add_argument("--quick", action="store_true", help="leave out the slow tests")
    p.add_argument("--filter", action="append", help="only tests whose name contains this text")
    return p


def equal(actual, expected, what="value"):
    if actual != expected:
        raise AssertionError(f"{what}: expected {expected!r}, got {actual!r}")


def run_command(arguments, stdin=None, seconds=120, check=True, env=None):
    """Runs a tool; stdout as text. With check, a non-zero exit fails with the tool's own words."""
    done = subprocess.run(arguments, input=stdin, capture_output=True, timeout=seconds, env=env)
    out, err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, arguments))} ended with {done.returncode}\n{out[-700:]}{err[-700:]}")
    return out if check else (done.returncode, out, err)
