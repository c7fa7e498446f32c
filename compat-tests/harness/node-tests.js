// What the JavaScript suites share: tests that run one after the other, one line each, as compat.py expects of a delegate.
'use strict'

const filters = (process.env.KBROKER_FILTER || '').split('\n').filter(Boolean)
const limitSeconds = 120
const tests = []

const test = (name, action) => tests.push({ name, action })

const sleep = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds))

// Waits until condition() is truthy, and returns its value; a timeout names what was waited for.
async function poll(what, condition, seconds = 60) {
  const deadline = Date.now() + seconds * 1000
  for (;;) {
    const value = await condition()
    if (value) return value
    if (Date.now() > deadline) throw new Error(`not within ${seconds} s: ${what}`)
    await sleep(50)
  }
}

async function one({ name, action }) {
  const started = Date.now()
  let limit
  try {
    const late = new Promise((_, reject) => {
      limit = setTimeout(() => reject(new Error(`not within ${limitSeconds} s`)), limitSeconds * 1000)
    })
    await Promise.race([action(), late])
    console.log(`ok ${name} (${((Date.now() - started) / 1000).toFixed(1)} s)`)
    return true
  } catch (error) {
    console.log(`FAIL ${name}\n    ${String(error.stack || error).replace(/\n/g, '\n    ')}`)
    return false
  } finally {
    clearTimeout(limit)
  }
}

// Runs the tests between before() and after(), and ends the process: 1 when one failed.
async function run(suite, before, after) {
  try {
    await before()
    let failed = 0
    for (const each of tests)
      if (!filters.length || filters.some(f => each.name.includes(f))) failed += (await one(each)) ? 0 : 1
    await after()
    process.exit(failed ? 1 : 0)
  } catch (error) {
    console.log(`FAIL ${suite}: ${error.stack || error}`)
    process.exit(1)
  }
}

module.exports = { test, poll, run }
