// Writes with kafkajs what the tests want: a line of JSON in, a line of JSON out. kafkajs makes one batch of what one
// send() has for a partition, in any codec, and in transactions, so the batches are exactly those of cases.py.
'use strict'

const readline = require('readline')
const { kafka, ready, CompressionTypes } = require('./kafkajs-client')

const codecs = {
  none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD,
}
const client = kafka(process.argv[2], 'writer')
const admin = client.admin()
const plain = client.producer()
const transactional = client.producer({ transactionalId: 'delays-writer', idempotent: true, maxInFlightRequests: 1 })

const operations = {
  async create({ topics, configs }) {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
    await admin.createTopics({ waitForLeaders: true, topics: topics.map(topic => ({ topic, numPartitions: 1, configEntries })) })
  },

  // rounds: of each one batch per topic. Without an outcome a batch each, else all in one transaction.
  async send({ rounds, codec, outcome }) {
    const sender = outcome ? await transactional.transaction() : plain
    for (const topicMessages of rounds) await sender.sendBatch({ topicMessages, compression: codecs[codec] })
    if (outcome) await sender[outcome]()
  },

  async ends({ topics }) {
    const found = await Promise.all(topics.map(topic => admin.fetchTopicOffsets(topic)))
    return Object.fromEntries(topics.map((topic, i) => [topic, Number(found[i][0].high)]))
  },

  async committed({ group, topics }) {
    const found = await admin.fetchOffsets({ groupId: group, topics })
    return Object.fromEntries(found.map(({ topic, partitions }) => [topic, Number(partitions[0].offset)]))
  },
}

async function main() {
  await ready
  await Promise.all([admin.connect(), plain.connect(), transactional.connect()])
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { operation, ...arguments_ } = JSON.parse(line)
    try {
      console.log(JSON.stringify({ value: (await operations[operation](arguments_)) ?? null }))
    } catch (error) {
      console.log(JSON.stringify({ error: String(error.stack || error) }))
    }
  }
  process.exit(0)
}

main()
