"""Consumer groups with Apache Kafka's shell tools: consumers of both protocols, and the administration of groups; see README.md."""
import json
import os
import re
import signal
import subprocess
import threading

from compat import equal, poll

PROTOCOLS = ["classic", "consumer"]


class Running:
    """A tool that goes on until it is told to stop: its lines as they come."""

    def __init__(self, start):
        self.lines, self._changed = [], threading.Condition()
        self.process = start()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))

    def wait(self, what, condition, seconds=120):
        """Waits until condition(lines) is truthy."""
        def check():
            with self._changed:
                lines = list(self.lines)
            found = condition(lines)
            if not found and self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode} while waiting: {what}\n" + "\n".join(lines[-20:]))
            return found
        return poll(what, check, seconds)

    def stop(self, seconds=60):
        """SIGTERM: the tools leave their group on it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        self._reader.join(10)

    def kill(self):
        """SIGKILL: the group is not told."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def json_lines(lines, name):
    """The events of that name that a verifiable tool printed."""
    events = []
    for line in lines:
        if line.startswith("{"):
            event = json.loads(line)
            if event.get("name") == name:
                events.append(event)
    return events


def table(text, key):
    """The rows of kafka-consumer-groups' last table whose header has the column `key`, as dictionaries."""
    rows, head = [], None
    for line in text.splitlines():
        words = line.split()
        if key in words:
            head, rows = [w for w in words], []
        elif head and words:
            rows.append(dict(zip(head, words)))
    return rows


def register(suite, tool, start, admin, create):
    def produce(broker, topic, count, first=0):
        lines = "".join(f"value {i}\n" for i in range(first, first + count))
        tool("kafka-console-producer", "--bootstrap-server", broker.bootstrap, "--topic", topic, "--command-property",
             "partitioner.class=org.apache.kafka.clients.producer.RoundRobinPartitioner", stdin=lines.encode())

    def groups(broker, *arguments, **options):
        return admin(broker, "kafka-consumer-groups", *arguments, **options)

    def describe(broker, group, *arguments):
        return groups(broker, "--describe", "--group", group, *arguments)

    def state(broker, group):
        rows = table(describe(broker, group, "--state"), "STATE")
        return (rows[0]["STATE"] if "STATE" in rows[0] else None, rows[0]) if rows else (None, {})

    def offsets_of(broker, group):
        rows = table(describe(broker, group), "CURRENT-OFFSET")
        return {int(r["PARTITION"]): (r["CURRENT-OFFSET"], r["LOG-END-OFFSET"], r["LAG"]) for r in rows}

    def console_consumer(broker, topic, group, protocol, count, *arguments):
        out = tool("kafka-console-consumer", "--bootstrap-server", broker.bootstrap, "--topic", topic, "--group", group, "--max-messages",
                   str(count), "--timeout-ms", "90000", "--command-property", f"group.protocol={protocol}", *arguments)
        return sorted(int(x.split()[1]) for x in out.splitlines() if x.startswith("value "))

    @suite.test(each=PROTOCOLS)
    def the_console_consumer_and_kafka_consumer_groups(broker, protocol):
        topic, group = suite.topic(), suite.topic("group")
        create(broker, topic, 2)
        produce(broker, topic, 20)
        equal(console_consumer(broker, topic, group, protocol, 20, "--from-beginning"), list(range(20)), "values")
        produce(broker, topic, 6, first=20)
        equal(console_consumer(broker, topic, group, protocol, 6), list(range(20, 26)), "values of the second run: it goes on")

        assert group in groups(broker, "--list").split()
        assert re.search(rf"^{group}\s+Empty\b", groups(broker, "--list", "--state"), re.M)
        out = admin(broker, "kafka-groups", "--list")
        assert re.search(rf"^{group}\s+{protocol.capitalize()}\s+consumer", out, re.M), out
        produce(broker, topic, 4, first=26)
        equal(offsets_of(broker, group), {0: ("13", "15", "2"), 1: ("13", "15", "2")}, "offsets and lag")
        assert re.search(rf"^{group}\s.*\bEmpty\s+0\b", describe(broker, group, "--state"), re.M)

        reset = ["--group", group, "--topic", topic, "--reset-offsets"]
        out = groups(broker, *reset, "--to-offset", "5", "--dry-run")
        equal([r["NEW-OFFSET"] for r in table(out, "NEW-OFFSET")], ["5", "5"], "what a reset would do")
        equal(offsets_of(broker, group)[0][0], "13", "a dry run changes nothing")
        groups(broker, *reset, "--shift-by", "-3", "--execute")
        equal({p: o[0] for p, o in offsets_of(broker, group).items()}, {0: "10", 1: "10"}, "after --shift-by -3")
        equal(len(console_consumer(broker, topic, group, protocol, 10)), 10, "values after the reset")
        groups(broker, *reset, "--to-earliest", "--execute")
        equal({p: o[2] for p, o in offsets_of(broker, group).items()}, {0: "15", 1: "15"}, "lag after --to-earliest")

        out = groups(broker, "--delete-offsets", "--group", group, "--topic", f"{topic}:1")
        assert re.search(rf"{topic}\s+1\s+Successful", out), out
        equal({p: o[0] for p, o in offsets_of(broker, group).items()}, {0: "0"}, "offsets after --delete-offsets")
        out = groups(broker, "--delete", "--group", group)
        assert f"Deletion of requested consumer groups ('{group}') was successful" in out, out
        assert group not in groups(broker, "--list").split()

    @suite.test(each=PROTOCOLS)
    def the_verifiable_consumer_and_the_members_of_a_group(broker, protocol):
        topic, group = suite.topic(), suite.topic("group")
        create(broker, topic, 4)

        def member():
            return Running(lambda: start("kafka-verifiable-consumer", "--bootstrap-server", broker.bootstrap, "--topic", topic,
                                         "--group-id", group, "--group-protocol", protocol, "--reset-policy", "earliest",
                                         *(["--session-timeout", "8000"] if protocol == "classic" else [])))

        def owned(lines):
            """What the events say it has: assigned and revoked are told one after the other."""
            have = set()
            for line in lines:
                if not line.startswith("{"):
                    continue
                event = json.loads(line)
                changed = {p["partition"] for p in event.get("partitions", []) if isinstance(p, dict) and "partition" in p}
                if event["name"] == "partitions_assigned":
                    have |= changed
                elif event["name"] == "partitions_revoked":
                    have -= changed
            return have

        with member() as first:
            first.wait("all partitions", lambda lines: owned(lines) == {0, 1, 2, 3})
            with member() as second:
                second.wait("two partitions", lambda lines: len(owned(lines)) == 2)
                first.wait("two partitions", lambda lines: len(owned(lines)) == 2)
                equal(owned(first.lines) | owned(second.lines), {0, 1, 2, 3}, "partitions of both")
                produce(broker, topic, 40)
                first.wait("commits", lambda lines: any(e["success"] for e in json_lines(lines, "offsets_committed")))
                second.wait("commits", lambda lines: any(e["success"] for e in json_lines(lines, "offsets_committed")))
                out = describe(broker, group, "--members", "--verbose")
                equal(len(re.findall(rf"^{group}\s+\S+\s+/127\.0\.0\.1\s", out, re.M)), 2, "members in\n" + out)
                assert re.search(rf"^{group}\s.*\bStable\s+2\b", describe(broker, group, "--state"), re.M)
                code, out, err = groups(broker, "--delete", "--group", group, check=False)
                assert "GroupNotEmptyException" in out + err, (code, out, err)
                code, out, err = groups(broker, "--delete-offsets", "--group", group, "--topic", topic, check=False)
                assert "GroupSubscribedToTopicException" in out + err, (code, out, err)
                code, out, err = groups(broker, "--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--execute",
                                        check=False)
                assert "Assignments can only be reset if the group" in out + err, (code, out, err)
                second.kill()
            first.wait("all partitions again", lambda lines: owned(lines) == {0, 1, 2, 3})
        poll("all is committed", lambda: sum(int(o[2]) for o in offsets_of(broker, group).values()) == 0, interval=1)

    @suite.test
    def kafka_configs_of_groups(broker):
        group = ["--entity-type", "groups", "--entity-name", suite.topic("group")]
        admin(broker, "kafka-configs", "--alter", *group, "--add-config", "consumer.session.timeout.ms=50000")
        assert "consumer.session.timeout.ms=50000 " in admin(broker, "kafka-configs", "--describe", *group)
        code, out, err = admin(broker, "kafka-configs", "--alter", *group, "--add-config", "consumer.session.timeout.ms=1", check=False)
        assert code != 0 and "InvalidConfigurationException" in out + err, out + err

    @suite.test
    def kafka_log_compaction_tester(broker):
        out = tool("kafka-log-compaction-tester", "--bootstrap-server", broker.bootstrap, "--messages", "20000", "--duplicates", "5",
                   "--topics", "2", "--percent-deletes", "10", "--sleep", "20", seconds=300)
        assert "Data verification is completed" in out or "De-duplication ratio" in out, out[-1500:]
