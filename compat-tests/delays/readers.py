"""The clients, each a process of its own that reads topics in a group, and how each produces; see README.md."""
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

from compat import Skip, kafka_home, need_tool, poll, run_command

HERE = os.path.dirname(os.path.abspath(__file__))
# How long a fetch waits at most: the fetches that are allowed while nothing happens follow from it.
WAIT_MS = 250
WAIT_SECONDS = 90
JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto"


class Client:
    """A client library: how its reader is started, what its lines mean, how it produces."""

    isolations = ("read_uncommitted", "read_committed")
    # What it commits by itself: its position, which passes what is hidden; or the offset behind the last record that it gave
    # out, or behind a control batch, but not what is missing at the end of a batch; or, None, something from the last
    # record to its position, as the time has it.
    commits = "position"
    # Whether it commits when it leaves rather than soon: then it leaves, and a successor goes on.
    commits_on_leave = False
    # Whether its lines tell the position where that passes what is hidden.
    shows_positions = False
    shows_control = False
    codecs = ("none", "gzip", "snappy", "lz4", "zstd")

    def need(self, home):
        """Raises Skip when it is not on this machine."""

    def parse(self, line):
        """A line of the reader's output: a record, a position, an error; None for anything else."""
        return json.loads(line) if line.startswith("{") else None


class Script(Client):
    """A client with a script of ours, which says all in JSON."""

    def __init__(self, command):
        self.command = command

    def reader(self, bootstrap, client_id, group, topics, isolation):
        settings = {"bootstrap": bootstrap, "clientId": client_id, "group": group, "topics": topics, "isolation": isolation}
        return [*self.command, "read", json.dumps(settings)], None

    def produce(self, bootstrap, topic, messages):
        out = run_command([*self.command, "produce", json.dumps({"bootstrap": bootstrap, "topic": topic, "messages": messages})])
        return [json.loads(line)["produced"] for line in out.splitlines() if line.startswith("{")]


class Kafkajs(Script):
    shows_positions = True
    commits = None
    commits_on_leave = True

    def __init__(self):
        super().__init__(["node", os.path.join(HERE, "kafkajs.js")])


class Platformatic(Script):
    def __init__(self):
        super().__init__(["node", "--disable-warning=ExperimentalWarning", os.path.join(HERE, "platformatic.js")])

    def need(self, home):
        if not os.path.isdir(os.path.join(HERE, "..", "platformatic", "node_modules", "@platformatic", "kafka")):
            raise Skip("no node_modules/@platformatic/kafka in compat-tests/platformatic (compat-tests/install)")
        has_zstd = run_command(["node", "-p", "Boolean(require('zlib').zstdCompressSync)"]).strip() == "true"
        # Its snappy knows blocks without Java's frame only, and the broker frames what it compresses anew.
        self.codecs = [c for c in Client.codecs if c != "snappy" and (c != "zstd" or has_zstd)]


class KafkaPython(Script):
    # 2.0.2 cannot ask for read_committed, and hands control records out as if they were messages.
    shows_control = True
    isolations = ("read_uncommitted",)
    shows_positions = True

    def __init__(self):
        super().__init__([sys.executable, os.path.join(HERE, "kafka-python.py")])

    def need(self, home):
        try:
            import kafka.codec
        except ImportError:
            raise Skip("no python3-kafka on this machine (compat-tests/install)") from None
        self.codecs = [c for c in Client.codecs if c == "none" or getattr(kafka.codec, f"has_{c}")()]


class Kcat(Client):
    commits = "record or control batch"
    commits_on_leave = True
    shows_positions = True

    def need(self, home):
        need_tool("kcat")

    def reader(self, bootstrap, client_id, group, topics, isolation):
        settings = [f"isolation.level={isolation}", "auto.offset.reset=earliest", f"fetch.wait.max.ms={WAIT_MS}", f"client.id={client_id}",
                    "session.timeout.ms=20000"]
        options = [x for setting in settings for x in ("-X", setting)]
        return ["kcat", "-b", bootstrap, "-J", "-u", *options, "-G", group, *topics], None

    def parse(self, line):
        if line.startswith("{"):
            r = json.loads(line)
            return {"topic": r["topic"], "offset": r["offset"], "value": r["payload"], "timestamp": r["ts"], "now": time.time() * 1000,
                    "headers": dict(zip(r.get("headers", [])[::2], r.get("headers", [])[1::2]))}
        at_end = re.search(r"% Reached end of topic (\S+) \[0\] at offset (\d+)", line)
        return {"topic": at_end[1], "position": int(at_end[2])} if at_end else None

    def produce(self, bootstrap, topic, messages):
        for m in messages:
            headers = [x for name, value in m["headers"].items() for x in ("-H", f"{name}={value}")]
            run_command(["kcat", "-b", bootstrap, "-P", "-t", topic, *headers], stdin=m["value"].encode())
        return None


class Java(Client):
    """kafka-console-consumer and kafka-console-producer. The lines do not name the topic: the values do."""

    def need(self, home):
        need_tool("java")
        if home is None:
            raise Skip("no Apache Kafka here (--kafka-home DIR or KAFKA_HOME)")
        self.home = home

    def _environment(self):
        return dict(os.environ, KAFKA_JVM_PERFORMANCE_OPTS=JVM, KAFKA_HEAP_OPTS="-Xmx256m", LOG_DIR=os.environ.get("TMPDIR", "/tmp"))

    def reader(self, bootstrap, client_id, group, topics, isolation):
        options = [x for setting in (f"client.id={client_id}", f"fetch.max.wait.ms={WAIT_MS}", "auto.commit.interval.ms=300",
                                     "session.timeout.ms=20000") for x in ("--command-property", setting)]
        shown = [x for what in ("timestamp", "offset", "headers") for x in ("--formatter-property", f"print.{what}=true")]
        return [os.path.join(self.home, "bin", "kafka-console-consumer.sh"), "--bootstrap-server", bootstrap, "--group", group,
                "--include", "|".join(topics), "--from-beginning", "--isolation-level", isolation, *options, *shown], self._environment()

    def parse(self, line):
        found = re.fullmatch(r"(?:CreateTime|LogAppendTime):(\d+)\tOffset:(\d+)\t(.*)\t((\S+)#.*)", line)
        if found is None:
            return {"error": line} if "ERROR" in line or "Exception" in line else None
        headers = {} if found[3] == "NO_HEADERS" else dict(h.split(":", 1) for h in found[3].split(","))
        return {"topic": found[5], "offset": int(found[2]), "value": found[4], "headers": headers, "timestamp": int(found[1]),
                "now": time.time() * 1000}

    def produce(self, bootstrap, topic, messages):
        lines = "".join(",".join(f"{k}:{v}" for k, v in m["headers"].items()) + f"\t{m['value']}\n" for m in messages)
        run_command([os.path.join(self.home, "bin", "kafka-console-producer.sh"), "--bootstrap-server", bootstrap, "--topic", topic,
                     "--reader-property", "parse.headers=true"], stdin=lines.encode(), env=self._environment())
        return None


CLIENTS = {"kcat": Kcat(), "kafka-python": KafkaPython(), "kafkajs": Kafkajs(), "platformatic": Platformatic(), "java": Java()}


class Reader:
    """A reader process: the records by topic, and the positions as far as the client shows them."""

    def __init__(self, client, *arguments):
        command, environment = client.reader(*arguments)
        self.records, self.positions, self.control, self._errors, self._tail = {}, {}, {}, [], []
        self._parse = client.parse
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, errors="replace")
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        for line in self.process.stdout:
            self._tail = [*self._tail[-15:], line]
            what = self._parse(line.rstrip("\n"))
            if what is None:
                continue
            if "error" in what:
                self._errors.append(what["error"])
            elif "control" in what:
                self.control.setdefault(what["topic"], []).append(what["control"])
            elif "position" in what:
                self.positions[what["topic"]] = what["position"]
            else:
                self.records.setdefault(what["topic"], []).append(what)

    def got(self, topic):
        """(offset, value) of what came from a topic."""
        return [(r["offset"], r["value"]) for r in self.records.get(topic, [])]

    def wait(self, what, condition, state=lambda: ""):
        """Polls; fails at once when the reader has failed or ended."""
        def check():
            if self._errors or self.process.poll() is not None:
                raise AssertionError(f"the reader failed while waiting: {what}: {self._errors}\n{''.join(self._tail)}")
            return condition()
        try:
            return poll(what, check, WAIT_SECONDS)
        except AssertionError as problem:
            raise AssertionError(f"{problem}\n{state()}\nthe reader's last lines:\n{''.join(self._tail)}") from None

    def stop(self):
        """SIGTERM: the client commits, leaves its group, and ends."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"the reader did not end on SIGTERM\n{''.join(self._tail)}") from None
        self._thread.join(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
