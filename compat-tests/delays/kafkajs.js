// A reader and a producer with kafkajs: what readers.py expects of a client.
//   node kafkajs.js read '{bootstrap, clientId, group, topics, isolation}'     until SIGTERM
//   node kafkajs.js produce '{bootstrap, topic, messages: [{value, headers}]}' one batch a message
'use strict'

const { kafka, ready } = require('./kafkajs-client')

const say = what => console.log(JSON.stringify(what))
const texts = headers => Object.fromEntries(Object.entries(headers || {}).map(([name, value]) => [name, String(value)]))

async function read({ bootstrap, clientId, group, topics, isolation }) {
  const consumer = kafka(bootstrap, clientId).consumer({
    groupId: group, sessionTimeout: 20000, heartbeatInterval: 500, maxWaitTimeInMs: 250,
    readUncommitted: isolation === 'read_uncommitted',
  })
  consumer.on(consumer.events.CRASH, ({ payload }) => say({ error: String(payload.error.stack) }))
  consumer.on(consumer.events.END_BATCH_PROCESS, ({ payload }) =>
    say({ position: Number(payload.lastOffset) + 1, topic: payload.topic }))
  await consumer.connect()
  await consumer.subscribe({ topics, fromBeginning: true })
  await consumer.run({
    autoCommitInterval: 300,
    eachMessage: async ({ topic, message }) => say({
      topic, offset: Number(message.offset), value: String(message.value), headers: texts(message.headers),
      timestamp: Number(message.timestamp), now: Date.now(),
    }),
  })
  process.on('SIGTERM', async () => {
    await consumer.disconnect()
    process.exit(0)
  })
}

async function produce({ bootstrap, topic, messages }) {
  const producer = kafka(bootstrap, 'kafkajs-producer').producer()
  await producer.connect()
  for (const message of messages) {
    const [{ baseOffset }] = await producer.send({ topic, messages: [message] })
    say({ produced: Number(baseOffset) })
  }
  await producer.disconnect()
}

ready.then(() => ({ read, produce })[process.argv[2]](JSON.parse(process.argv[3])))
