// Runs messages through the AO loader, for scripts/compare-loader: one JSON object on standard input, one a line out.
//
// In:  {loader, module, format, environment, messages: [{message, now_ms}]}, the first two being paths
// Out: for each message {response}, what the module gave; {refused}, where it said `"ok": false`; or {trapped}
//
// As a compute unit of AO does: memory carries over from message to message, and is put back where one failed.
// Unlike it, the clock is the message's: the loader's own counts up from 10000, a millisecond a look.

'use strict'
const fs = require('fs')

const say = (line) => fs.writeSync(1, JSON.stringify(line) + '\n')
for (const stream of ['log', 'error', 'warn', 'info']) console[stream] = () => {}
process.env.TZ = 'UTC'

async function main () {
  const { loader, module, format, environment, messages } = JSON.parse(fs.readFileSync(0, 'utf8'))
  const load = require(loader)
  const wasm = fs.readFileSync(module)
  let nowMs = messages[0].now_ms
  const start = async () => {
    const handle = await load(wasm, { format, UNSAFE_MEMORY: true })
    Date.now = () => nowMs
    return handle
  }
  let handle = await start()
  let kept = null // the memory after the last message that did not fail; one array, for a new one a message is slow
  let failed = false
  for (const { message, now_ms: time } of messages) {
    nowMs = time
    try {
      const { Memory, GasUsed, ...response } = await handle(failed ? kept : null, message, environment)
      failed = Boolean(response.Error)
      if (!failed) {
        const memory = new Uint8Array(Memory)
        if (kept === null || kept.length !== memory.length) kept = new Uint8Array(memory.length)
        kept.set(memory)
      }
      say({ response })
    } catch (thrown) {
      // What is left of the instance after a trap is anyone's guess.
      handle = await start()
      failed = kept !== null
      const trap = thrown instanceof Error || (thrown && thrown.name === 'ExitStatus')
      say(trap ? { trapped: String(thrown.message) } : { refused: thrown })
    }
  }
}

main().then(() => process.exit(0), (error) => {
  fs.writeSync(2, String(error && error.stack) + '\n')
  process.exit(1)
})
