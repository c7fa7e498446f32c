// A reader and a producer with @platformatic/kafka: what readers.py expects of a client. See kafkajs.js for the arguments.
'use strict'

const path = require('path')
const package_ = require.resolve('@platformatic/kafka', { paths: [path.join(__dirname, '..', 'platformatic')] })
const { Consumer, Producer, stringDeserializers, stringSerializers, FetchIsolationLevels } = require(package_)

const say = what => console.log(JSON.stringify(what))
const base = (bootstrap, clientId) =>
  ({ clientId, bootstrapBrokers: [bootstrap], retries: 100, retryDelay: 300, timeout: 30000, connectTimeout: 20000 })

async function read({ bootstrap, clientId, group, topics, isolation }) {
  const consumer = new Consumer({
    ...base(bootstrap, clientId), groupId: group, sessionTimeout: 20000, heartbeatInterval: 500, rebalanceTimeout: 60000,
    maxWaitTime: 250, deserializers: stringDeserializers,
    isolationLevel: isolation === 'read_committed' ? FetchIsolationLevels.READ_COMMITTED : FetchIsolationLevels.READ_UNCOMMITTED,
  })
  const failed = error => say({ error: String(error.stack || error) })
  consumer.on('error', failed)
  const stream = await consumer.consume({ topics, mode: 'committed', fallbackMode: 'earliest', autocommit: 300 })
  stream.on('error', failed)
  stream.on('data', message => say({
    topic: message.topic, offset: Number(message.offset), value: message.value,
    headers: Object.fromEntries(message.headers || []), timestamp: Number(message.timestamp), now: Date.now(),
  }))
  process.on('SIGTERM', async () => {
    await consumer.close(true)
    process.exit(0)
  })
}

async function produce({ bootstrap, topic, messages }) {
  const producer = new Producer({ ...base(bootstrap, 'platformatic-producer'), serializers: stringSerializers })
  for (const { value, headers } of messages) {
    const { offsets } = await producer.send({ messages: [{ topic, value, headers }], acks: -1 })
    say({ produced: Number(offsets[0].offset) })
  }
  await producer.close()
}

({ read, produce })[process.argv[2]](JSON.parse(process.argv[3]))
