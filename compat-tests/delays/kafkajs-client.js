// kafkajs as the compat tests have it installed, with its codecs.
'use strict'

const { Kafka, CompressionTypes, logLevel } = require('../kafkajs/node_modules/kafkajs')
const { ready } = require('../kafkajs/codecs')

const kafka = (bootstrap, clientId) =>
  new Kafka({ clientId, brokers: [bootstrap], logLevel: logLevel.NOTHING, connectionTimeout: 20000, retry: { retries: 10 } })

module.exports = { kafka, ready, CompressionTypes }
