// kafkajs against the broker named by KBROKER_BOOTSTRAP; see README.md. Prints one line a test, as harness/compat.py expects.
// kafkajs has no consumer without a group: fetching by assignment goes through its own Cluster and Broker objects, which
// speak the same requests its consumer does (Metadata, Fetch with the newest version it knows, ListOffsets).
'use strict'

const assert = require('assert/strict')
const fs = require('fs')
const path = require('path')
const { Kafka, ConfigResourceTypes, KafkaJSProtocolError, logLevel } = require('kafkajs')
const Cluster = require('kafkajs/src/cluster')
const { createLogger } = require('kafkajs/src/loggers')
const createConsoleLogger = require('kafkajs/src/loggers/console')
const createSocketFactory = require('kafkajs/src/network/socketFactory')
const { test, run } = require('../harness/node-tests')
const codecs = require('./codecs')
const groupTests = require('./groups')

const bootstrap = process.env.KBROKER_BOOTSTRAP
const dataFolder = process.env.KBROKER_DATA
const kafka = new Kafka({ clientId: 'compat', brokers: [bootstrap], logLevel: logLevel.NOTHING, connectionTimeout: 20000, retry: { retries: 3 } })
const admin = kafka.admin()

let topicNumber = 0
async function createTopic(options = {}) {
  const topic = `topic-${++topicNumber}`
  const { numPartitions = 1, configEntries = [] } = options
  await admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions, configEntries }] })
  return topic
}

async function withProducer(options, action) {
  const producer = kafka.producer(options)
  await producer.connect()
  try {
    return await action(producer)
  } finally {
    await producer.disconnect()
  }
}

async function withCluster(action) {
  const cluster = new Cluster({
    logger: createLogger({ level: logLevel.NOTHING, logCreator: createConsoleLogger }),
    brokers: [bootstrap],
    socketFactory: createSocketFactory(),
    clientId: 'compat',
    connectionTimeout: 20000,
    authenticationTimeout: 20000,
    metadataMaxAge: 300000,
    offsets: new Map(),
  })
  await cluster.connect()
  try {
    return await action(cluster)
  } finally {
    await cluster.disconnect()
  }
}

const fetchOnce = (broker, topic, partition, fetchOffset, maxBytes = 1048576) =>
  broker.fetch({
    maxWaitTime: 200, minBytes: 1, maxBytes: 10485760, isolationLevel: 0,
    topics: [{ topic, partitions: [{ partition, fetchOffset: String(fetchOffset), maxBytes }] }],
  })

// All messages of a partition from an offset on, until `count` are there.
async function fetchAssigned(topic, partition, count, from = 0) {
  return withCluster(async cluster => {
    await cluster.addTargetTopic(topic)
    const leader = Object.keys(cluster.findLeaderForPartitions(topic, [partition]))[0]
    const broker = await cluster.findBroker({ nodeId: leader })
    const messages = []
    const deadline = Date.now() + 20000
    while (messages.length < count && Date.now() < deadline) {
      const next = messages.length ? Number(messages[messages.length - 1].offset) + 1 : from
      const answer = await fetchOnce(broker, topic, partition, next)
      for (const message of answer.responses[0].partitions[0].messages)
        if (Number(message.offset) >= next) messages.push(message)
    }
    assert.equal(messages.length, count, `messages of ${topic}-${partition}`)
    return messages
  })
}

// The codec numbers of the batches of a partition on disk: bits 0-2 of the attributes at byte 21 of each batch.
function codecsOnDisk(topic, partition = 0) {
  const folder = path.join(dataFolder, `${topic}-${partition}`)
  const codecs = new Set()
  for (const name of fs.readdirSync(folder).filter(n => n.endsWith('.log'))) {
    const data = fs.readFileSync(path.join(folder, name))
    for (let at = 0; at + 61 <= data.length && data.readInt32BE(at + 8) > 0; at += 12 + data.readInt32BE(at + 8))
      codecs.add(data.readInt16BE(at + 21) & 7)
  }
  return [...codecs]
}

async function rejectsWith(type, action) {
  await assert.rejects(action, error => {
    const causes = [error, error.cause, ...(error.errors || [])].filter(Boolean)
    assert.ok(causes.some(c => c.type === type), `expected ${type}, got ${causes.map(c => c.type || c.message)}`)
    return true
  })
}

const text = message => message.value && message.value.toString()

for (const [name, compression] of [['none', 0], ['gzip', 1], ['snappy', 2], ['lz4', 3], ['zstd', 4]]) {
  test(`what is produced with a codec comes back [${name}]`, async () => {
    const topic = await createTopic()
    const values = Array.from({ length: 500 }, (_, i) => `value ${i} `.repeat(10))
    await withProducer({}, p => p.send({ topic, compression, messages: values.map(value => ({ value, partition: 0 })) }))
    assert.deepEqual((await fetchAssigned(topic, 0, 500)).map(text), values)
    assert.deepEqual(codecsOnDisk(topic), [compression])
  })
}

test('keys, headers, timestamps and tombstones come back', async () => {
  const topic = await createTopic()
  await withProducer({}, p => p.send({
    topic,
    messages: [
      { key: 'k', value: 'v', headers: { trace: 'abc', many: ['1', '2'] }, timestamp: '1700000000000' },
      { key: 'k', value: null },
    ],
  }))
  const [first, second] = await fetchAssigned(topic, 0, 2)
  assert.equal(first.key.toString(), 'k')
  assert.equal(first.timestamp, '1700000000000')
  assert.equal(first.headers.trace.toString(), 'abc')
  assert.deepEqual(first.headers.many.map(String), ['1', '2'])
  assert.equal(second.value, null)
})

for (const acks of [0, 1, -1]) {
  test(`produces with acks [${acks}]`, async () => {
    const topic = await createTopic()
    await withProducer({}, p => p.send({ topic, acks, messages: [{ value: 'a' }, { value: 'b' }] }))
    assert.deepEqual((await fetchAssigned(topic, 0, 2)).map(text), ['a', 'b'])
  })
}

test('an idempotent producer is served', async () => {
  const topic = await createTopic()
  await withProducer({ idempotent: true, maxInFlightRequests: 1 }, async p => {
    for (let i = 0; i < 20; i++) await p.send({ topic, messages: [{ value: String(i) }] })
  })
  assert.deepEqual((await fetchAssigned(topic, 0, 20)).map(text), Array.from({ length: 20 }, (_, i) => String(i)))
})

test('many partitions, one sendBatch over several topics', async () => {
  const topics = [await createTopic({ numPartitions: 4 }), await createTopic({ numPartitions: 4 })]
  await withProducer({}, p => p.sendBatch({
    topicMessages: topics.map(topic => ({
      topic, messages: Array.from({ length: 400 }, (_, i) => ({ value: `${topic}:${i}`, partition: i % 4 })),
    })),
  }))
  for (const topic of topics)
    for (let partition = 0; partition < 4; partition++) {
      const expected = Array.from({ length: 100 }, (_, i) => `${topic}:${4 * i + partition}`)
      assert.deepEqual((await fetchAssigned(topic, partition, 100)).map(text), expected)
    }
})

test('fetches from an offset, and refuses one out of range', async () => {
  const topic = await createTopic()
  await withProducer({}, p => p.send({ topic, messages: Array.from({ length: 100 }, (_, i) => ({ value: String(i) })) }))
  assert.deepEqual((await fetchAssigned(topic, 0, 10, 90)).map(text), ['90', '91', '92', '93', '94', '95', '96', '97', '98', '99'])
  await withCluster(async cluster => {
    await cluster.addTargetTopic(topic)
    const broker = await cluster.findControllerBroker()
    await rejectsWith('OFFSET_OUT_OF_RANGE', () => fetchOnce(broker, topic, 0, 1000))
  })
})

test('a fetch at the end waits for the next message', async () => {
  const topic = await createTopic()
  await withCluster(async cluster => {
    await cluster.addTargetTopic(topic)
    const broker = await cluster.findControllerBroker()
    const waiting = broker.fetch({
      maxWaitTime: 20000, minBytes: 1, maxBytes: 1048576, isolationLevel: 1,
      topics: [{ topic, partitions: [{ partition: 0, fetchOffset: '0', maxBytes: 1048576 }] }],
    })
    await withProducer({}, p => p.send({ topic, messages: [{ value: 'late' }] }))
    assert.deepEqual((await waiting).responses[0].partitions[0].messages.map(text), ['late'])
  })
})

test('admin lists topic offsets, by time too', async () => {
  const topic = await createTopic({ numPartitions: 2 })
  const messages = Array.from({ length: 10 }, (_, i) => ({ value: 'x', partition: 1, timestamp: String(1700000000000 + i * 1000) }))
  await withProducer({}, p => p.send({ topic, messages }))
  const offsets = (await admin.fetchTopicOffsets(topic)).sort((a, b) => a.partition - b.partition)
  assert.deepEqual(offsets.map(o => [o.partition, o.low, o.high]), [[0, '0', '0'], [1, '0', '10']])
  const byTime = await admin.fetchTopicOffsetsByTimestamp(topic, 1700000004500)
  assert.equal(byTime.find(o => o.partition === 1).offset, '5')
})

test('admin creates, grows, lists, describes and deletes topics', async () => {
  const topic = await createTopic({ numPartitions: 2 })
  assert.equal(await admin.createTopics({ topics: [{ topic }] }), false, 'a second time')
  await admin.createPartitions({ topicPartitions: [{ topic, count: 5 }] })
  const metadata = await admin.fetchTopicMetadata({ topics: [topic] })
  assert.deepEqual(metadata.topics[0].partitions.map(p => p.partitionId).sort(), [0, 1, 2, 3, 4])
  assert.ok((await admin.listTopics()).includes(topic))
  await admin.deleteTopics({ topics: [topic] })
  assert.ok(!(await admin.listTopics()).includes(topic))
})

test('admin reads and alters configs', async () => {
  const topic = await createTopic({ configEntries: [{ name: 'retention.ms', value: '12345' }] })
  const type = ConfigResourceTypes.TOPIC
  const read = async () => {
    const answer = await admin.describeConfigs({ includeSynonyms: true, resources: [{ type, name: topic }] })
    return Object.fromEntries(answer.resources[0].configEntries.map(e => [e.configName, e]))
  }
  const before = await read()
  assert.equal(before['retention.ms'].configValue, '12345')
  assert.equal(before['retention.ms'].configSource, 1)
  assert.equal(before['cleanup.policy'].configSource, 5)
  await admin.alterConfigs({ validateOnly: false, resources: [{ type, name: topic, configEntries: [{ name: 'segment.bytes', value: '2000000' }] }] })
  const after = await read()
  assert.equal(after['segment.bytes'].configValue, '2000000')
  assert.equal(after['retention.ms'].configValue, '604800000')
})

test('admin describes the cluster and deletes records', async () => {
  const cluster = await admin.describeCluster()
  assert.deepEqual(cluster.brokers.map(b => [b.nodeId, `${b.host}:${b.port}`]), [[1, bootstrap]])
  assert.equal(cluster.controller, 1)
  assert.ok(cluster.clusterId)
  const topic = await createTopic()
  await withProducer({}, p => p.send({ topic, messages: Array.from({ length: 10 }, () => ({ value: 'x' })) }))
  // Without a call like this one kafkajs does not know the topic's leader yet, and gives up.
  assert.deepEqual((await admin.fetchTopicOffsets(topic)).map(o => [o.low, o.high]), [['0', '10']])
  await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '7' }] })
  assert.deepEqual((await admin.fetchTopicOffsets(topic)).map(o => [o.low, o.high]), [['7', '10']])
  assert.equal((await fetchAssigned(topic, 0, 3, 7)).length, 3)
})

test('errors have the codes of Kafka', async () => {
  const topic = await createTopic()
  const create = options => admin.createTopics({ topics: [options] })
  await rejectsWith('INVALID_TOPIC_EXCEPTION', () => create({ topic: 'bad name!' }))
  await rejectsWith('INVALID_PARTITIONS', () => create({ topic: 'p', numPartitions: 0 }))
  await rejectsWith('INVALID_REPLICATION_FACTOR', () => create({ topic: 'r', replicationFactor: 3 }))
  await rejectsWith('INVALID_CONFIG', () => create({ topic: 'c', configEntries: [{ name: 'retention.ms', value: 'soon' }] }))
  await rejectsWith('UNKNOWN_TOPIC_OR_PARTITION', () => admin.deleteTopics({ topics: ['never-created'] }))
  await rejectsWith('INVALID_PARTITIONS', () => admin.createPartitions({ topicPartitions: [{ topic, count: 1 }] }))
  await withProducer({ retry: { retries: 0 } }, async p => {
    await rejectsWith('MESSAGE_TOO_LARGE', () => p.send({ topic, messages: [{ value: Buffer.alloc(1200000) }] }))
    await rejectsWith('UNKNOWN_TOPIC_OR_PARTITION', () => p.send({ topic: 'never-created', messages: [{ value: 'x' }] }))
  })
})

groupTests({ kafka, admin, createTopic, withProducer, text })

run('kafkajs', async () => {
  await codecs.ready
  await admin.connect()
}, () => admin.disconnect())
