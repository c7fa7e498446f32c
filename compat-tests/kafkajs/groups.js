// Consumer groups with kafkajs, which speaks the classic protocol; see README.md.
'use strict'

const assert = require('assert/strict')
const { test, poll } = require('../harness/node-tests')

let groupNumber = 0
const newGroup = () => `kafkajs-group-${++groupNumber}`

module.exports = ({ kafka, admin, createTopic, withProducer, text }) => {
  // A member: what it was given last, and what it has read.
  class Member {
    constructor(groupId, settings = {}) {
      this.partitions = {}
      this.messages = []
      this.consumer = kafka.consumer({
        groupId, sessionTimeout: 10000, rebalanceTimeout: 20000, heartbeatInterval: 300, maxWaitTimeInMs: 200,
        metadataMaxAge: 2000, ...settings,
      })
      this.consumer.on(this.consumer.events.GROUP_JOIN, ({ payload }) => { this.partitions = payload.memberAssignment })
    }

    async start(topics, { fromBeginning = true, ...options } = {}) {
      await this.consumer.connect()
      await this.consumer.subscribe({ topics, fromBeginning })
      await this.consumer.run({
        ...options,
        eachMessage: async ({ topic, partition, message }) => {
          this.messages.push({ topic, partition, offset: Number(message.offset), value: text(message) })
        },
      })
      return this
    }

    of(topic) {
      return (this.partitions[topic] || []).slice().sort((a, b) => a - b)
    }

    stop() {
      return this.consumer.disconnect()
    }
  }

  async function withMembers(action) {
    const members = []
    try {
      await action(member => { members.push(member); return member })
    } finally {
      for (const member of members) await member.stop()
    }
  }

  const send = (topic, count, partitions = 1) => withProducer({}, p => p.send({
    topic, messages: Array.from({ length: count }, (_, i) => ({ value: String(i), partition: i % partitions })),
  }))

  const shared = (topic, partitions, ...members) => poll(`${partitions} partitions shared by ${members.length}`, () => {
    const all = members.flatMap(m => m.of(topic))
    return all.length === partitions && new Set(all).size === partitions && members.every(m => m.of(topic).length > 0)
  })

  const committed = async (groupId, topic) => {
    const offsets = await admin.fetchOffsets({ groupId, topics: [topic] })
    return offsets[0].partitions.sort((a, b) => a.partition - b.partition).map(p => Number(p.offset))
  }

  test('two members share the partitions, and the one that stays gets all', () => withMembers(async join => {
    const topic = await createTopic({ numPartitions: 4 })
    const groupId = newGroup()
    const first = await join(new Member(groupId)).start([topic])
    await poll('the first has all', () => first.of(topic).length === 4)
    const second = await join(new Member(groupId)).start([topic])
    await shared(topic, 4, first, second)
    await send(topic, 100, 4)
    await poll('all is read', () => first.messages.length + second.messages.length >= 100)
    assert.ok(first.messages.length > 0 && second.messages.length > 0)
    await second.stop()
    await poll('the first has all again', () => first.of(topic).length === 4)
    await send(topic, 100, 4)
    const seen = () => new Set([...first.messages, ...second.messages].map(m => `${m.partition}:${m.offset}`)).size
    await poll('the rest is read', () => seen() === 200)
  }))

  test('a group goes on where it has committed', () => withMembers(async join => {
    const topic = await createTopic()
    const groupId = newGroup()
    await send(topic, 50)
    const first = await join(new Member(groupId)).start([topic], { autoCommit: false })
    await poll('all is read', () => first.messages.length === 50)
    await first.consumer.commitOffsets([{ topic, partition: 0, offset: '20', metadata: 'twenty' }])
    assert.deepEqual(await committed(groupId, topic), [20])
    await first.stop()
    const second = await join(new Member(groupId)).start([topic])
    await poll('the rest is read', () => second.messages.length === 30)
    assert.equal(second.messages[0].offset, 20)
    await second.stop()
    assert.deepEqual(await committed(groupId, topic), [50])
  }))

  test('without a commit a group begins where it says', () => withMembers(async join => {
    const topic = await createTopic()
    await send(topic, 10)
    const early = await join(new Member(newGroup())).start([topic], { fromBeginning: true })
    const late = await join(new Member(newGroup())).start([topic], { fromBeginning: false })
    const fetching = new Promise(resolve => late.consumer.on(late.consumer.events.FETCH, resolve))
    await poll('the early one reads all', () => early.messages.length === 10)
    await fetching
    await send(topic, 5)
    await poll('the late one reads what came later', () => late.messages.length === 5)
    assert.equal(late.messages[0].offset, 10)
  }))

  test('pause, resume and seek', () => withMembers(async join => {
    const topic = await createTopic({ numPartitions: 2 })
    const member = await join(new Member(newGroup())).start([topic])
    await send(topic, 20, 2)
    await poll('all is read', () => member.messages.length === 20)
    member.consumer.pause([{ topic, partitions: [1] }])
    await send(topic, 20, 2)
    await poll('partition 0 is read', () => member.messages.filter(m => m.partition === 0).length === 20)
    assert.equal(member.messages.filter(m => m.partition === 1).length, 10)
    member.consumer.resume([{ topic, partitions: [1] }])
    await poll('partition 1, too', () => member.messages.length === 40)
    member.consumer.seek({ topic, partition: 0, offset: '15' })
    await poll('it is read again', () => member.messages.length === 45)
    assert.deepEqual(member.messages.slice(40).map(m => m.offset), [15, 16, 17, 18, 19])
  }))

  test('a regular expression subscribes to what matches', () => withMembers(async join => {
    const [one, two] = [await createTopic(), await createTopic()]
    const other = await createTopic()
    const member = await join(new Member(newGroup())).start([new RegExp(`^(${one}|${two})$`)])
    for (const topic of [one, two, other]) await send(topic, 5)
    await poll('both are read', () => member.messages.length === 10)
    assert.deepEqual([...new Set(member.messages.map(m => m.topic))].sort(), [one, two].sort())
  }))

  test('admin lists, describes, alters and deletes groups', () => withMembers(async join => {
    const topic = await createTopic({ numPartitions: 2 })
    const groupId = newGroup()
    await send(topic, 10, 2)
    const member = await join(new Member(groupId)).start([topic])
    await poll('all is read', () => member.messages.length === 10)
    const listed = (await admin.listGroups()).groups.find(g => g.groupId === groupId)
    assert.equal(listed.protocolType, 'consumer')
    const [described] = (await admin.describeGroups([groupId])).groups
    assert.equal(described.state, 'Stable')
    assert.equal(described.protocol, 'RoundRobinAssigner')
    assert.equal(described.members.length, 1)
    await assert.rejects(admin.deleteGroups([groupId]), e => e.groups[0].error.type === 'NON_EMPTY_GROUP')
    await member.stop()
    assert.deepEqual(await committed(groupId, topic), [5, 5])
    await admin.setOffsets({ groupId, topic, partitions: [{ partition: 0, offset: '2' }] })
    assert.deepEqual(await committed(groupId, topic), [2, 5])
    await admin.deleteGroups([groupId])
    assert.ok(!(await admin.listGroups()).groups.some(g => g.groupId === groupId))
  }))
}
