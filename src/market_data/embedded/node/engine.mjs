// PostgreSQL in WebAssembly: opening a data directory, and running protocol messages on its one session.
//
// The engine has a single session and no threads: an exchange runs to its end before anything else in this
// process does. Whoever calls decides whose turn it is (turns.mjs).

import { existsSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

import { errorFields, message, messages, query, rowValues } from './wire.mjs'

export const DATABASE = 'market_data'

// The build reserves 64 kB for C's stack, above static data and unguarded: a few hundred nested expressions
// overwrite the engine's own variables. We move the stack to memory of our own, which only costs what is
// touched, and is so large that JavaScript's guarded stack ends first.
const C_STACK_BYTES = 64 * 1024 * 1024
const OUTPUT_SLAB_BYTES = 1024 * 1024
// What the build writes to its standard error for its developers.
const NOISE = /^# | DEBUG: {2}/
// Answered when COPY FROM STDIN asks for data that isn't there: an end of input would end the process.
const NO_COPY_DATA = message('f', 'the embedded engine takes COPY FROM STDIN only as a statement of its own')

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
  #onTrap
  /** Whether the last exchange ran out of COPY data. */
  starved = false
  /** Told of NotificationResponses that answer query(), which nobody else sees. */
  onNotification = null
  /** Whose unnamed prepared statement the session has (names.mjs); a simple query drops it. */
  unnamedOwner = null

  constructor(module, onTrap) {
    this.#module = module
    this.#onTrap = onTrap
    const read = module.addFunction((at, limit) => this.#read(at, limit), 'iii')
    const write = module.addFunction((at, length) => this.#write(at, length), 'iii')
    module._set_read_write_cbs(read, write)
    const stack = module._malloc(C_STACK_BYTES)
    if (!stack) throw new Error('no memory for the C stack')
    module.___stack_pointer.value = (stack + C_STACK_BYTES) & ~15
  }

  /**
   * Opens (first creating, if need be) the database in `directory`. A first creation that was interrupted is
   * thrown away and done again. `onTrap` is told when the engine has failed for good; it must not return.
   */
  static async open({ directory, packages, log, say, onTrap }) {
    const load = await loader(packages, log)
    if (!existsSync(directory)) {
      say('creating the database (initdb, once)')
      const draft = `${directory}.new`
      rmSync(draft, { recursive: true, force: true })
      const first = new Engine(await load(draft, 'template1'), onTrap)
      first.query(`CREATE DATABASE ${DATABASE}`)
      first.close()
      renameSync(draft, directory)
    }
    const engine = new Engine(await load(directory, DATABASE), onTrap)
    // The very first statement: without it, reading a continuous aggregate kills the instance.
    engine.query("LOAD 'timescaledb'")
    // Continuous aggregates read their catalog with the extension's functions only once it exists here.
    engine.query('SET client_min_messages = error; CREATE EXTENSION IF NOT EXISTS timescaledb')
    return engine
  }

  /** Runs messages, given as a list of buffers, to their end and returns all that the engine answers. */
  exchange(parts) {
    this.#input = parts
    this.#part = this.#offset = 0
    this.starved = false
    try {
      // It returns whenever its 8 kB receive buffer runs empty at the end of a message.
      while (this.#part < this.#input.length) {
        const part = this.#input[this.#part]
        this.#module._interactive_one(part.length, part[this.#offset])
      }
    } catch (error) {
      this.#onTrap(error)
    }
    const rest = this.#slab.subarray(0, this.#used)
    this.#used = 0
    if (!this.#output.length) return Buffer.from(rest)
    const whole = Buffer.concat([...this.#output, rest])
    this.#output = []
    return whole
  }

  /** The rows (as lists of texts) of one simple query; throws EngineError. */
  query(sql) {
    const rows = []
    let failure = null
    this.unnamedOwner = null
    for (const { type, body } of messages(this.exchange([query(sql)]))) {
      if (type === 'D') rows.push(rowValues(body))
      else if (type === 'A') this.onNotification?.(body)
      else if (type === 'E') failure ??= new EngineError(errorFields(body))
    }
    if (failure) throw failure
    return rows
  }

  /** Writes the shutdown checkpoint; the engine can't be used afterwards. */
  close() {
    try {
      this.#module._pgl_shutdown()
    } catch (error) {
      if (error?.name !== 'ExitStatus') throw error
    }
  }

  #read(at, limit) {
    if (this.#part === this.#input.length) {
      this.starved = true
      this.#input = [NO_COPY_DATA]
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

/** A function that starts an instance on a directory and a database and resolves to its WASM module. */
async function loader(packages, log) {
  const dist = join(packages, '@unni-craftsman', 'pglite', 'dist')
  const { PGlite } = await import(pathToFileURL(join(dist, 'index.js')))
  const { timescaledb } = await import(pathToFileURL(join(dist, 'timescaledb', 'index.js')))
  const ownLog = {
    setup: async (_instance, options) => ({
      emscriptenOpts: { ...options, print: () => {}, printErr: (line) => NOISE.test(line) || log(line) },
    }),
  }
  return async (dataDir, database) => {
    const instance = await PGlite.create({ dataDir, database, extensions: { ownLog, timescaledb } })
    return instance.Module
  }
}
