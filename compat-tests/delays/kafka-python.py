"""A reader and a producer with kafka-python: what readers.py expects of a client. See kafkajs.js for the arguments."""
import json
import signal
import sys
import time

from kafka import KafkaConsumer, KafkaProducer


def say(**what):
    print(json.dumps(what), flush=True)


def texts(headers):
    return {name: value.decode() for name, value in headers or []}


def read(bootstrap, clientId, group, topics, **_):
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    consumer = KafkaConsumer(*topics, bootstrap_servers=bootstrap, client_id=clientId, group_id=group, auto_offset_reset="earliest",
                             session_timeout_ms=20000, heartbeat_interval_ms=500, request_timeout_ms=60000,
                             fetch_max_wait_ms=250, auto_commit_interval_ms=300)
    positions = {}
    while not ended:
        for records in consumer.poll(200).values():
            for r in records:
                if r.key is not None and len(r.key) == 4 and r.value is not None and not r.value.startswith(r.topic.encode()):
                    say(control=r.offset, topic=r.topic)
                    continue
                say(topic=r.topic, offset=r.offset, value=r.value.decode(), headers=texts(r.headers), timestamp=r.timestamp,
                    now=time.time() * 1000)
        for partition in consumer.assignment():
            position = consumer.position(partition)
            if positions.get(partition) != position:
                positions[partition] = position
                say(position=position, topic=partition.topic)
    consumer.close()


def produce(bootstrap, topic, messages):
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    for message in messages:
        headers = [(name, value.encode()) for name, value in message["headers"].items()]
        say(produced=producer.send(topic, value=message["value"].encode(), headers=headers).get(60).offset)
    producer.close()


{"read": read, "produce": produce}[sys.argv[1]](**json.loads(sys.argv[2]))
