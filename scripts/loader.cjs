// Run messages in the AO loader, for scripts/compare-loader.
//
// Standard input has one JSON object: {loader, module, format, environment, messages: [{message, now_ms}]}.
// `loader` and `module` are paths.
//
// Standard output gets one JSON object a line for each message:
//   {response}   the module's answer
//   {refused}    the module said `"ok": false`
//   {trapped}    the module trapped
//
// Memory is kept from message to message, and restored after a message that failed, as in a compute unit of AO.
// The clock is the message's. (The loader's own clock starts at 10000 and adds a millisecond at each reading.)

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
  let kept = null // the memory after the last message that did not fail; one array is reused, because allocating is slow
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
      // After a trap, the instance is in an unknown state.
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
