// The codecs that kafkajs does not have itself, in plain JavaScript or WebAssembly; `ready` when all of them are.
'use strict'

const { CompressionTypes, CompressionCodecs } = require('kafkajs')
const snappy = require('snappyjs')
const lz4 = require('lz4js')
const xxh32 = require('lz4js/xxh32')
const { ZstdCodec } = require('zstd-codec')

// lz4js leaves the flag "blocks are independent" unset, and Kafka refuses such frames. Its blocks are (one a frame here),
// so the flag is set in the frame descriptor (byte 4), and the descriptor's checksum (byte 6) made right again.
function independentBlocks(lz4Frame) {
  lz4Frame[4] |= 0x20
  lz4Frame[6] = (xxh32.hash(0, lz4Frame, 4, 2) >>> 8) & 0xff
  return lz4Frame
}

// Java's snappy stream, which the Java client and the broker write: a header of 16 bytes, then blocks with their lengths.
// Others write one block without a frame. (kafkajs-snappy, which users of kafkajs take, reads both, too.)
const snappyStream = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0])
function unsnappy(buffer) {
  if (!buffer.subarray(0, 8).equals(snappyStream)) return Buffer.from(snappy.uncompress(buffer))
  const blocks = []
  for (let at = 16; at < buffer.length; at += 4 + buffer.readInt32BE(at))
    blocks.push(Buffer.from(snappy.uncompress(buffer.subarray(at + 4, at + 4 + buffer.readInt32BE(at)))))
  return Buffer.concat(blocks)
}

let zstd
CompressionCodecs[CompressionTypes.Snappy] = () => ({
  compress: async encoder => Buffer.from(snappy.compress(encoder.buffer)),
  decompress: async buffer => unsnappy(buffer),
})
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async encoder => independentBlocks(Buffer.from(lz4.compress(encoder.buffer))),
  decompress: async buffer => Buffer.from(lz4.decompress(buffer)),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from(zstd.compress(encoder.buffer)),
  decompress: async buffer => Buffer.from(zstd.decompress(buffer)),
})

const ready = new Promise(resolve => ZstdCodec.run(codec => {
  zstd = new codec.Simple()
  resolve()
}))

module.exports = { ready }
