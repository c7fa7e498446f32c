"""Consumer groups with kafka-python, which speaks the classic protocol; see README.md."""
import re
import threading

from compat import equal, poll
from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition, errors
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor


class Member(threading.Thread, ConsumerRebalanceListener):
    """A consumer on a thread of its own, that owns `partitions` now and has read `records`."""

    def __init__(self, broker, group, topics=None, pattern=None, **settings):
        super().__init__(daemon=True)
        self.partitions, self.records, self.failure = set(), [], None
        self._leaving = threading.Event()
        self.consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap, group_id=group, **{
            "auto_offset_reset": "earliest", "session_timeout_ms": 10000, "heartbeat_interval_ms": 300,
            "metadata_max_age_ms": 2000, "auto_commit_interval_ms": 200, "request_timeout_ms": 60000,
            "max_poll_interval_ms": 30000, **settings})
        self.consumer.subscribe(topics=topics, pattern=pattern, listener=self)

    def on_partitions_revoked(self, revoked):
        self.partitions = set()

    def on_partitions_assigned(self, assigned):
        self.partitions = set(assigned)

    def run(self):
        try:
            while not self._leaving.is_set():
                for records in self.consumer.poll(100).values():
                    self.records.extend(records)
            self.consumer.close()
        except Exception as problem:  # whatever the client fails with, the test that waits shall say
            self.failure = problem

    def leave(self):
        self._leaving.set()
        if self.is_alive():
            self.join(60)
        return self


class Members:
    """The members of one test; all leave at its end."""

    def __init__(self):
        self.all = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for member in self.all:
            member.leave()

    def join(self, *arguments, **settings):
        member = Member(*arguments, **settings)
        self.all.append(member)
        member.start()
        return member

    def poll(self, what, condition, seconds=90):
        def check():
            for member in self.all:
                if member.failure:
                    raise AssertionError(f"a member failed while waiting: {what}") from member.failure
            return condition()
        return poll(what, check, seconds)

    def shared(self, partitions, *members):
        def is_shared():
            owned = [p for m in members for p in m.partitions]
            return len(owned) == len(set(owned)) == partitions and all(m.partitions for m in members)
        self.poll(f"{partitions} partitions shared by {len(members)}", is_shared)


def send(broker, topic, count, partitions=1):
    client = KafkaProducer(bootstrap_servers=broker.bootstrap)
    for i in range(count):
        client.send(topic, value=str(i).encode(), partition=i % partitions)
    client.flush(30)
    client.close()


def committed(broker, group):
    client = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    offsets = client.list_consumer_group_offsets(group)
    client.close()
    return {tuple(partition): (found.offset, found.metadata) for partition, found in offsets.items()}


def register(suite, create, ages):
    numbers = iter(range(1, 1000))

    def new_group():
        return f"python-group-{next(numbers)}"

    @suite.test(each=["range", "roundrobin"])
    def two_members_share_the_partitions_and_the_one_that_stays_gets_all(broker, assignor):
        strategy = [RangePartitionAssignor if assignor == "range" else RoundRobinPartitionAssignor]
        topic, group = create(broker, partitions=4), new_group()
        with Members() as members:
            first = members.join(broker, group, [topic], partition_assignment_strategy=strategy)
            members.shared(4, first)
            second = members.join(broker, group, [topic], partition_assignment_strategy=strategy)
            members.shared(4, first, second)
            send(broker, topic, 40, 4)

            def seen():
                return len({(r.partition, r.offset) for m in (first, second) for r in m.records})
            members.poll("all is read", lambda: seen() == 40)
            second.leave()
            members.shared(4, first)
            send(broker, topic, 40, 4)
            members.poll("the rest is read", lambda: seen() == 80)

    @suite.test(each=ages)
    def an_older_client_joins_commits_and_resumes(broker, age):
        topic, group = create(broker), new_group()
        send(broker, topic, 30)
        with Members() as members:
            first = members.join(broker, group, [topic], api_version=age)
            members.poll("all is read", lambda: len(first.records) == 30)
            first.leave()
            equal(committed(broker, group), {(topic, 0): (30, "")}, "committed at close")
            send(broker, topic, 5)
            second = members.join(broker, group, [topic], api_version=age)
            members.poll("the rest is read", lambda: len(second.records) == 5)
            equal(second.records[0].offset, 30, "where it goes on")

    @suite.test
    def a_commit_carries_metadata_and_a_group_goes_on_there(broker):
        topic, group = create(broker), new_group()
        send(broker, topic, 20)
        consumer = KafkaConsumer(topic, bootstrap_servers=broker.bootstrap, group_id=group, auto_offset_reset="earliest",
                                 enable_auto_commit=False)
        where, records = TopicPartition(topic, 0), []
        poll("all is read", lambda: records.extend(consumer.poll(200).get(where, [])) or len(records) == 20)
        consumer.commit({where: OffsetAndMetadata(7, "seven")})
        equal(tuple(consumer.committed(where, metadata=True)), (7, "seven"), "committed")
        consumer.close()
        equal(committed(broker, group), {(topic, 0): (7, "seven")}, "committed, by the admin client")
        with Members() as members:
            second = members.join(broker, group, [topic])
            members.poll("the rest is read", lambda: len(second.records) == 13)
            equal(second.records[0].offset, 7, "where it goes on")

    @suite.test
    def pause_resume_and_seek(broker):
        topic = create(broker, partitions=2)
        send(broker, topic, 20, 2)
        consumer = KafkaConsumer(topic, bootstrap_servers=broker.bootstrap, group_id=new_group(), auto_offset_reset="earliest")
        zero, one = TopicPartition(topic, 0), TopicPartition(topic, 1)

        def read(count):
            records = []
            poll(f"{count} records", lambda: records.extend(r for rs in consumer.poll(200).values() for r in rs) or len(records) >= count,
                 interval=0)
            return sorted((r.partition, r.offset) for r in records)
        equal(len(read(20)), 20, "records")
        consumer.pause(zero)
        send(broker, topic, 20, 2)
        equal(read(10), [(1, i) for i in range(10, 20)], "the partition that is not paused")
        consumer.resume(zero)
        equal(read(10), [(0, i) for i in range(10, 20)], "the other")
        consumer.seek(one, 17)
        equal(read(3), [(1, 17), (1, 18), (1, 19)], "after a seek")
        consumer.close()

    @suite.test
    def a_pattern_takes_topics_that_come_later(broker):
        stem = suite.topic("pattern")
        first = create(broker, stem)
        with Members() as members:
            member = members.join(broker, new_group(), pattern=f"^{re.escape(stem)}-.*")
            members.shared(1, member)
            second = create(broker, stem)
            members.shared(2, member)
            send(broker, first, 5)
            send(broker, second, 5)
            send(broker, create(broker, "other"), 5)
            members.poll("both are read", lambda: {r.topic for r in member.records} == {first, second} and len(member.records) == 10)

    @suite.test
    def admin_lists_describes_and_deletes_groups(broker):
        topic, group = create(broker, partitions=2), new_group()
        client = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
        with Members() as members:
            member = members.join(broker, group, [topic])
            members.shared(2, member)
            assert (group, "consumer") in [tuple(g)[:2] for g in client.list_consumer_groups()]
            described = client.describe_consumer_groups([group])[0]
            equal((described.state, described.protocol_type, described.protocol, len(described.members)),
                  ("Stable", "consumer", "range", 1), "description")
            assigned = described.members[0].member_assignment.assignment
            equal([(t, sorted(ps)) for t, ps in assigned], [(topic, [0, 1])], "assignment")
            equal(client.delete_consumer_groups([group]), [(group, errors.NonEmptyGroupError)], "deleting while it has members")
            member.leave()
        equal(client.delete_consumer_groups([group]), [(group, errors.NoError)], "deleting it empty")
        assert group not in [g[0] for g in client.list_consumer_groups()]
        equal(client.describe_consumer_groups([group])[0].state, "Dead", "state")
        client.close()
