// PostgreSQL in WebAssembly: opens a data directory and executes protocol messages on its one session.
//
// The engine has no threads: nothing else in this process runs during an execution. The caller decides which
// connection may execute (scheduler.mjs).

import { existsSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

import { errorFields, message, messages, query, rowValues } from './wire.mjs'

export const DATABASE = 'market_data'

// The build reserves 64 kB for the C stack, above static data and without a guard: a few hundred nested expressions
// overwrite the engine's own variables. This stack, in memory allocated for it, costs only the pages that are touched
// and is so large that JavaScript's stack, which has a guard, overflows first.
const C_STACK_BYTES = 64 * 1024 * 1024
const OUTPUT_SLAB_BYTES = 1024 * 1024
// Debug lines of the build on its standard error.
const DEBUG_LINE = /^# | DEBUG: {2}/
// Input for a COPY FROM STDIN whose data is missing: an end of input would end the process.
const COPY_FAIL = message(
  'f',
  'the embedded engine supports COPY FROM STDIN only as the sole statement of a query: send it separately',
)

export class EngineError extends Error {
  constructor(fields) {
    super(fields.M)
    this.code = fields.C
  }
}

export class Engine {
  #module
  #input = []
  #part = 0
  #offset = 0
  #output = []
  #slab = Buffer.allocUnsafeSlow(OUTPUT_SLAB_BYTES)
  #used = 0
  #onCrash
  /** True if the last execution asked for COPY data that was not in its input. */
  copyDataMissing = false
  /** Receives the NotificationResponses in the output of query(). */
  onNotification = null
  /** PreparedStatements whose unnamed statement the session has; a simple query drops the statement. */
  unnamedStatementOwner = null

  constructor(module, onCrash) {
    this.#module = module
    this.#onCrash = onCrash
    const read = module.addFunction((at, limit) => this.#read(at, limit), 'iii')
    const write = module.addFunction((at, length) => this.#write(at, length), 'iii')
    module._set_read_write_cbs(read, write)
    const stack = module._malloc(C_STACK_BYTES)
    if (!stack) throw new Error('no memory for the C stack')
    module.___stack_pointer.value = (stack + C_STACK_BYTES) & ~15
  }

  /**
   * Open the database in `directory`, and create it first if it does not exist. A creation that was interrupted is
   * discarded and repeated. `onCrash` is called when the engine has failed for good; it must not return.
   */
  static async open({ directory, packages, log, report, onCrash }) {
    const load = await moduleLoader(packages, log)
    if (!existsSync(directory)) {
      report('creating the database (initdb, once)')
      const draft = `${directory}.new`
      rmSync(draft, { recursive: true, force: true })
      const first = new Engine(await load(draft, 'template1'), onCrash)
      first.query(`CREATE DATABASE ${DATABASE}`)
      first.close()
      renameSync(draft, directory)
    }
    const engine = new Engine(await load(directory, DATABASE), onCrash)
    // Must be the very first statement: without it, reading a continuous aggregate crashes the engine.
    engine.query("LOAD 'timescaledb'")
    // Without the extension in this database, reading the catalog of continuous aggregates fails.
    engine.query('SET client_min_messages = error; CREATE EXTENSION IF NOT EXISTS timescaledb')
    return engine
  }

  /** Execute messages, given as a list of buffers, and return all of the engine's output. */
  execute(parts) {
    this.#input = parts
    this.#part = this.#offset = 0
    this.copyDataMissing = false
    try {
      // The call returns whenever the engine's 8 kB receive buffer is empty at the end of a message.
      while (this.#part < this.#input.length) {
        const part = this.#input[this.#part]
        this.#module._interactive_one(part.length, part[this.#offset])
      }
    } catch (error) {
      this.#onCrash(error)
    }
    const rest = this.#slab.subarray(0, this.#used)
    this.#used = 0
    if (!this.#output.length) return Buffer.from(rest)
    const whole = Buffer.concat([...this.#output, rest])
    this.#output = []
    return whole
  }

  /** Run a simple query and return its rows as lists of texts. Throws EngineError. */
  query(sql) {
    const rows = []
    let failure = null
    this.unnamedStatementOwner = null
    for (const { type, body } of messages(this.execute([query(sql)]))) {
      if (type === 'D') rows.push(rowValues(body))
      else if (type === 'A') this.onNotification?.(body)
      else if (type === 'E') failure ??= new EngineError(errorFields(body))
    }
    if (failure) throw failure
    return rows
  }

  /** Write the shutdown checkpoint. The engine can't be used afterwards. */
  close() {
    try {
      this.#module._pgl_shutdown()
    } catch (error) {
      if (error?.name !== 'ExitStatus') throw error
    }
  }

  #read(at, limit) {
    if (this.#part === this.#input.length) {
      this.copyDataMissing = true
      this.#input = [COPY_FAIL]
      this.#part = this.#offset = 0
    }
    let copied = 0
    while (copied < limit && this.#part < this.#input.length) {
      const part = this.#input[this.#part]
      const count = Math.min(limit - copied, part.length - this.#offset)
      this.#module.HEAPU8.set(part.subarray(this.#offset, this.#offset + count), at + copied)
      copied += count
      this.#offset += count
      if (this.#offset === part.length) {
        this.#part += 1
        this.#offset = 0
      }
    }
    return copied
  }

  #write(at, length) {
    for (let done = 0; done < length; ) {
      if (this.#used === this.#slab.length) {
        this.#output.push(this.#slab)
        this.#slab = Buffer.allocUnsafeSlow(OUTPUT_SLAB_BYTES)
        this.#used = 0
      }
      const count = Math.min(length - done, this.#slab.length - this.#used)
      this.#slab.set(this.#module.HEAPU8.subarray(at + done, at + done + count), this.#used)
      this.#used += count
      done += count
    }
    return length
  }
}

/** Return a function that starts PGlite on a directory and a database and resolves to its WASM module. */
async function moduleLoader(packages, log) {
  const dist = join(packages, '@unni-craftsman', 'pglite', 'dist')
  const { PGlite } = await import(pathToFileURL(join(dist, 'index.js')))
  const { timescaledb } = await import(pathToFileURL(join(dist, 'timescaledb', 'index.js')))
  const logging = {
    setup: async (_instance, options) => ({
      emscriptenOpts: { ...options, print: () => {}, printErr: (line) => DEBUG_LINE.test(line) || log(line) },
    }),
  }
  return async (dataDir, database) => {
    const instance = await PGlite.create({ dataDir, database, extensions: { logging, timescaledb } })
    return instance.Module
  }
}
