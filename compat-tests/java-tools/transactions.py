"""Transactions with Apache Kafka's shell tools: the copier that goes on after its death, the administration of open and of hanging
transactions, the load generator; see README.md."""
import json
import re
import socket
import struct
import time

from compat import equal, frame, poll, read_frame
from groups import Running

COPIED = 3000


def register(suite, tool, start, admin, create):
    """Registers the tests with the suite. `tool`, `start`, `admin` and `create` run the tools, as in `run`."""

    def consume(broker, topic, isolation, most):
        """The values of partition 0 as a reader of that isolation level gets them, until nothing comes."""
        code, out, err = admin(broker, "kafka-console-consumer", "--topic", topic, "--partition", "0", "--offset", "earliest",
                               "--isolation-level", isolation, "--max-messages", str(most), "--timeout-ms", "4000", check=False)
        assert code == 0, out + err
        return out.splitlines()

    def transactions(broker, *arguments, check=True):
        return admin(broker, "kafka-transactions", *arguments, check=check)

    def listed(broker, name):
        """The row of `list` of that transactional id: (coordinator, producer id, state)."""
        out = transactions(broker, "list", "--transactional-id-pattern", re.escape(name))
        return next((tuple(x.split()[1:4]) for x in out.splitlines() if x.split()[:1] == [name]), None)

    def leave_open(broker, topic, name):
        """A producer that dies in the midst of its transaction, whose timeout is long."""
        arguments = ["--bootstrap-server", broker.bootstrap, "--topic", topic, "--num-records", "1000000", "--record-size", "10",
                     "--throughput", "20", "--transactional-id", name, "--transaction-duration-ms", "800000",
                     "--command-property", "transaction.timeout.ms=800000"]
        with Running(lambda: start("kafka-producer-perf-test", *arguments)) as producer:
            producer.wait("records are sent", lambda lines: any("records sent" in x for x in lines))
            producer.kill()

    @suite.test
    def kafka_transactional_message_copier_killed_and_with_random_aborts(broker):
        source, target = suite.topic("copied"), suite.topic("copy")
        for topic in (source, target):
            create(broker, topic, 1)
        lines = [f"message {i}" for i in range(COPIED)]
        admin(broker, "kafka-console-producer", "--topic", source, stdin="\n".join(lines).encode())
        arguments = ["--broker-list", broker.bootstrap, "--input-topic", source, "--input-partition", "0", "--output-topic", target,
                     "--transactional-id", source, "--consumer-group", source, "--transaction-size", "20", "--enable-random-aborts",
                     "--use-group-metadata", "--transaction-timeout", "5000"]

        def progress(output):
            events = [json.loads(x) for x in output if x.startswith("{")]
            return max((int(e["totalProcessed"]) for e in events if "totalProcessed" in e), default=0)

        with Running(lambda: start("kafka-transactional-message-copier", *arguments)) as first:
            copied = first.wait("it copies", lambda output: progress(output) >= 200 and progress(output))
            first.kill()
        assert copied < COPIED, "it was done before it could be killed"
        tool("kafka-transactional-message-copier", *arguments)
        equal(consume(broker, target, "read_committed", COPIED + 1), lines, "the copy")
        written = consume(broker, target, "read_uncommitted", 20 * COPIED)
        assert len(written) > COPIED and set(written) == set(lines), f"nothing was aborted: {len(written)} messages"

    @suite.test
    def kafka_transactions_list_describe_and_force_terminate(broker):
        topic = suite.topic("open")
        create(broker, topic, 1)
        leave_open(broker, topic, topic)
        coordinator, producer, state = listed(broker, topic)
        equal((coordinator, state), ("1", "Ongoing"), "coordinator and state")
        out = transactions(broker, "describe", "--transactional-id", topic)
        head, row = (x.split("\t") for x in out.splitlines()[-2:])
        described = {k.strip(): v.strip() for k, v in zip(head, row)}
        equal([described[k] for k in ("CoordinatorId", "TransactionalId", "ProducerId", "TransactionState", "TransactionTimeoutMs",
                                      "TopicPartitions")], ["1", topic, producer, "Ongoing", "800000", f"{topic}-0"], "described")
        assert re.fullmatch(r"\d+", described["CurrentTransactionStartTimeMs"]), described
        out = transactions(broker, "describe-producers", "--topic", topic, "--partition", "0")
        head, row = (x.split("\t") for x in out.splitlines()[-2:])
        state_of_producer = {k.strip(): v.strip() for k, v in zip(head, row)}
        equal([state_of_producer[k] for k in ("ProducerId", "ProducerEpoch", "CurrentTransactionStartOffset")],
              [producer, described["ProducerEpoch"], "0"], "the producer's state")
        assert int(state_of_producer["LastSequence"]) > 0, out
        equal(consume(broker, topic, "read_committed", 1), [], "while it is open")
        transactions(broker, "forceTerminateTransaction", "--transactionalId", topic)
        poll("it is aborted", lambda: listed(broker, topic)[2] in ("CompleteAbort", "Empty"))
        equal(consume(broker, topic, "read_committed", 1), [], "after it was aborted")
        out = transactions(broker, "describe-producers", "--topic", topic, "--partition", "0")
        assert "\tNone" in out.splitlines()[-1], out
        code, out, err = transactions(broker, "describe", "--transactional-id", "nobody", check=False)
        assert code != 0 and "the ID could not be found" in out + err, out + err

    @suite.test
    def kafka_transactions_find_hanging_and_abort(broker):
        """A batch without a transaction, as a producer of old and a broker of old could leave it."""
        topic, verification = suite.topic("hanging"), "transaction.partition.verification.enable"
        create(broker, topic, 1)
        admin(broker, "kafka-configs", "--alter", "--entity-type", "brokers", "--entity-default", "--add-config", verification + "=false")
        old = int(time.time() * 1000) - 3_600_000
        poll("the batch is taken", lambda: produce(broker, topic, batch(old, b"forgotten", producer_id=4_000_000, transactional=True)) == 0)
        admin(broker, "kafka-configs", "--alter", "--entity-type", "brokers", "--entity-default", "--delete-config", verification)
        admin(broker, "kafka-console-producer", "--topic", topic, stdin=b"held back")
        equal(consume(broker, topic, "read_committed", 1), [], "behind a hanging transaction")
        out = transactions(broker, "find-hanging", "--topic", topic)
        found = [x.split() for x in out.splitlines() if x.startswith(topic)]
        equal([(x[1], x[2], x[3], x[5]) for x in found], [("0", "4000000", "0", "0")], f"hanging\n{out}")
        transactions(broker, "abort", "--topic", topic, "--partition", "0", "--start-offset", "0")
        equal(consume(broker, topic, "read_committed", 2), ["held back"], "after the abort")
        assert topic not in transactions(broker, "find-hanging", "--topic", topic), "it still hangs"

    @suite.test
    def kafka_producer_perf_test_with_transactions(broker):
        topic = suite.topic("perf")
        create(broker, topic, 1)
        out = tool("kafka-producer-perf-test", "--bootstrap-server", broker.bootstrap, "--topic", topic, "--num-records", "2000",
                   "--record-size", "100", "--throughput", "1000", "--transaction-duration-ms", "100", "--transactional-id", topic)
        assert "2000 records sent" in out, out
        equal(listed(broker, topic)[2], "CompleteCommit", "the last state")
        equal(len(consume(broker, topic, "read_committed", 2001)), 2000, "records")
        end, = (int(x) for x in re.findall(rf"^{topic}:0:(\d+)$", admin(broker, "kafka-get-offsets", "--topic", topic), re.M))
        assert end > 2005, f"so many transactions of 100 ms have as many markers; the end offset is {end}"


def produce(broker, topic, records):
    """Sends a batch to partition 0 by Produce version 3; its error code."""
    name = topic.encode()
    transactional_id = b"hanging"
    body = (struct.pack(">h", len(transactional_id)) + transactional_id + struct.pack(">hii", -1, 10_000, 1)
            + struct.pack(">h", len(name)) + name + struct.pack(">iii", 1, 0, len(records)) + records)
    with socket.create_connection(("127.0.0.1", broker.port), timeout=20) as s:
        s.sendall(frame(0, 3, body))
        return struct.unpack_from(">h", read_frame(s), 4 + 2 + len(name) + 4 + 4)[0]


def batch(timestamp, value, producer_id, transactional):
    """A version 2 batch of one record with sequence 0 and epoch 0."""
    content = b"\x00\x00\x00\x01" + bytes([len(value) << 1]) + value + b"\x00"
    record = bytes([len(content) << 1]) + content
    checked = struct.pack(">hiqqqhiI", 0x10 if transactional else 0, 0, timestamp, timestamp, producer_id, 0, 0, 1) + record
    head = struct.pack(">ib", 0, 2) + struct.pack(">I", crc32c(checked))
    return struct.pack(">qi", 0, len(head) + len(checked)) + head + checked


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
