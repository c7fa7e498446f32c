// @platformatic/kafka against the broker named by KBROKER_BOOTSTRAP: producing, consumer groups of both protocols, and
// their administration; see README.md.
'use strict'

const assert = require('assert/strict')
const zlib = require('zlib')
const { Admin, Consumer, Producer, stringDeserializers, stringSerializers } = require('@platformatic/kafka')
const { test, poll: pollFor, run } = require('../harness/node-tests')

const bootstrapBrokers = [process.env.KBROKER_BOOTSTRAP]
const base = { clientId: 'compat', bootstrapBrokers, retries: 100, retryDelay: 300, timeout: 30000, connectTimeout: 20000 }
const protocols = ['classic', 'consumer']
const admin = new Admin(base)
let number = 0

async function createTopic(partitions = 1) {
  const topic = `topic-${++number}`
  await admin.createTopics({ topics: [topic], partitions, replicas: 1 })
  await poll(`${topic} has leaders`, async () => {
    const metadata = await admin.metadata({ topics: [topic], forceUpdate: true })
    const found = metadata.topics.get(topic)
    return found && found.partitionsCount === partitions && found.partitions.every(p => p.leader === 1)
  })
  return topic
}

async function send(topic, count, partitions = 1, settings = {}) {
  const producer = new Producer({ ...base, serializers: stringSerializers, ...settings })
  try {
    const messages = Array.from({ length: count }, (_, i) => ({ topic, key: `k${i}`, value: `v${i}`, partition: i % partitions }))
    return await producer.send({ messages, acks: -1 })
  } finally {
    await producer.close()
  }
}

// A member: what it has read, in the order it came.
class Member {
  constructor(groupId, groupProtocol, settings = {}) {
    const timing = groupProtocol === 'classic' ? { sessionTimeout: 10000, heartbeatInterval: 300 } : {}
    this.messages = []
    this.consumer = new Consumer({
      ...base, groupId, groupProtocol, rebalanceTimeout: 60000, maxWaitTime: 200, metadataMaxAge: 2000,
      deserializers: stringDeserializers, ...timing, ...settings,
    })
  }

  async start(topics, options = {}) {
    this.stream = await this.consumer.consume({ topics, mode: 'committed', fallbackMode: 'earliest', autocommit: 100, ...options })
    this.stream.on('data', message => this.messages.push(message))
    this.stream.on('error', error => { this.error = error })
    this.consumer.on('error', error => { this.error = error })
    return this
  }

  of(topic) {
    return (this.consumer.assignments || []).filter(a => a.topic === topic).flatMap(a => a.partitions)
  }

  async stop() {
    if (!this.stopped) {
      this.stopped = true
      await this.consumer.close(true)
    }
  }
}

const members = []

// Waits for a condition, and fails at once when a member has failed.
const poll = (what, condition) => pollFor(what, () => {
  for (const member of members) if (member.error && !member.stopped) throw member.error
  return condition()
})

async function withMembers(action) {
  members.length = 0
  try {
    await action(member => { members.push(member); return member })
  } finally {
    for (const member of members) await member.stop()
  }
}

const shared = (topic, partitions, ...members) => poll(`${partitions} partitions shared by ${members.length}`, () => {
  const all = members.flatMap(m => m.of(topic))
  return all.length === partitions && new Set(all).size === partitions && members.every(m => m.of(topic).length > 0)
})

const list = () => admin.listGroups({ types: protocols })

async function committed(groupId, topic, partitions) {
  const indexes = Array.from({ length: partitions }, (_, i) => i)
  const [group] = await admin.listConsumerGroupOffsets({ groups: [{ groupId, topics: [{ name: topic, partitionIndexes: indexes }] }] })
  const found = group.topics[0].partitions.sort((a, b) => a.partitionIndex - b.partitionIndex)
  return found.map(p => Number(p.committedOffset))
}

// Older Node has no zstd.
const codecs = ['none', 'gzip', 'snappy', 'lz4', ...(zlib.zstdCompressSync ? ['zstd'] : [])]
for (const compression of codecs) {
  test(`what is produced with a codec comes back [${compression}]`, () => withMembers(async join => {
    const topic = await createTopic()
    const { offsets } = await send(topic, 200, 1, { compression })
    assert.equal(offsets[0].offset, 0n)
    const member = await join(new Member(`group-${++number}`, 'classic')).start([topic])
    await poll('all is read', () => member.messages.length === 200)
    assert.deepEqual(member.messages.map(m => [m.key, m.value]), Array.from({ length: 200 }, (_, i) => [`k${i}`, `v${i}`]))
  }))
}

test('an idempotent producer is served', async () => {
  const topic = await createTopic()
  const producer = new Producer({ ...base, serializers: stringSerializers, idempotent: true })
  for (let i = 0; i < 20; i++) {
    const { offsets } = await producer.send({ messages: [{ topic, value: String(i) }] })
    assert.equal(offsets[0].offset, BigInt(i))
  }
  await producer.close()
})

for (const protocol of protocols) {
  test(`two members share the partitions, and the one that stays gets all [${protocol}]`, () => withMembers(async join => {
    const topic = await createTopic(4)
    const groupId = `group-${++number}`
    const first = await join(new Member(groupId, protocol)).start([topic])
    await shared(topic, 4, first)
    const second = await join(new Member(groupId, protocol)).start([topic])
    await shared(topic, 4, first, second)
    let sent = 0
    const seen = () => new Set([...first.messages, ...second.messages].map(m => `${m.partition}:${m.offset}`)).size
    await poll('both read', async () => {
      await send(topic, 20, 4)
      sent += 20
      return first.messages.length > 0 && second.messages.length > 0
    })
    await poll('all is read', () => seen() === sent)
    await second.stop()
    await shared(topic, 4, first)
    await send(topic, 100, 4)
    await poll('the rest is read', () => seen() === sent + 100)
  }))

  test(`a group goes on where it has committed [${protocol}]`, () => withMembers(async join => {
    const topic = await createTopic()
    const groupId = `group-${++number}`
    await send(topic, 50)
    const first = await join(new Member(groupId, protocol)).start([topic], { autocommit: false })
    await poll('all is read', () => first.messages.length === 50)
    await first.consumer.commit({ offsets: [{ topic, partition: 0, offset: 20n, leaderEpoch: 0 }] })
    assert.deepEqual(await committed(groupId, topic, 1), [20])
    await first.stop()
    const second = await join(new Member(groupId, protocol)).start([topic])
    await poll('the rest is read', () => second.messages.length === 30)
    assert.equal(second.messages[0].offset, 20n)
    await poll('it is committed', async () => (await committed(groupId, topic, 1))[0] === 50)
  }))

  test(`without a commit the stream's mode decides [${protocol}]`, () => withMembers(async join => {
    const topic = await createTopic()
    await send(topic, 10)
    const early = await join(new Member(`group-${++number}`, protocol)).start([topic], { fallbackMode: 'earliest' })
    const late = await join(new Member(`group-${++number}`, protocol)).start([topic], { fallbackMode: 'latest' })
    await poll('the early one reads all', () => early.messages.length === 10)
    await shared(topic, 1, late)
    await poll('the late one reads what comes later', async () => {
      await send(topic, 1)
      return late.messages.length > 0
    })
    assert.ok(late.messages[0].offset >= 10n)
  }))

  test(`admin lists, describes, alters and deletes groups [${protocol}]`, () => withMembers(async join => {
    const topic = await createTopic(2)
    const groupId = `group-${++number}`
    await send(topic, 10, 2)
    const member = await join(new Member(groupId, protocol)).start([topic])
    await poll('all is read', () => member.messages.length === 10)
    await poll('it is committed', async () => (await committed(groupId, topic, 2)).join() === '5,5')
    const listed = (await list()).get(groupId)
    assert.equal(listed.state.toLowerCase(), 'stable')
    if (protocol === 'classic') {
      const described = (await admin.describeGroups({ groups: [groupId] })).get(groupId)
      assert.equal(described.members.size, 1)
    }
    assert.deepEqual(await member.consumer.getLag({ topics: [topic] }), new Map([[topic, [0n, 0n]]]))
    await assert.rejects(admin.deleteGroups({ groups: [groupId] }))
    await member.stop()
    await poll('it is empty', async () => (await list()).get(groupId).state.toLowerCase() === 'empty')
    await admin.alterConsumerGroupOffsets({ groupId, topics: [{ name: topic, partitionOffsets: [{ partition: 0, offset: 2n }] }] })
    assert.deepEqual(await committed(groupId, topic, 2), [2, 5])
    await admin.deleteConsumerGroupOffsets({ groupId, topics: [{ name: topic, partitionIndexes: [1] }] })
    assert.deepEqual(await committed(groupId, topic, 2), [2, -1])
    await admin.deleteGroups({ groups: [groupId] })
    assert.ok(!(await list()).has(groupId))
  }))
}

run('platformatic', async () => {}, () => admin.close())
