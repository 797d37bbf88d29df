// The process that has the database: opens it, serves PostgreSQL's wire protocol on a loopback port, runs the
// database's jobs, and ends in order when its standard input ends or on SIGTERM.
//
//   node bridge.mjs NODE_MODULES DATA_DIRECTORY PORT
//
// It writes lines of JSON to its standard output: { say } for the operator, { port } when it is ready, { error }
// when it can't start. Its own log is its standard error.

import { createServer } from 'node:net'
import { Worker } from 'node:worker_threads'

import { Autovacuum } from './autovacuum.mjs'
import { Channels } from './channels.mjs'
import { Engine } from './engine.mjs'
import { Jobs } from './jobs.mjs'
import { Session } from './session.mjs'
import { Settings } from './settings.mjs'
import { Turns } from './turns.mjs'

const HOST = '127.0.0.1'
const CONNECTION_LIMIT = 100
// Past the limit, so many more are let in to be told so.
const REFUSED_LIMIT = 50
const CRASHED = 70

const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)
const log = (line) => process.stderr.write(`${new Date().toISOString()} ${line}\n`)

class Bridge {
  turns = new Turns()
  channels = new Channels()
  #sessions = new Set()
  #server = createServer({ allowHalfOpen: true }, (socket) => this.#sessions.add(new Session(this, socket)))
  #jobs = null
  #stopping = false
  log = log

  async start(packages, directory, port) {
    this.engine = await Engine.open({
      directory,
      packages,
      log,
      say: (say) => tell({ say }),
      onTrap: (error) => this.#crash(error),
    })
    // Of jobs: they run on no connection.
    this.engine.onNotification = (body) => this.channels.route(body, 0)
    this.settings = new Settings(this.engine, log)
    this.#server.maxConnections = CONNECTION_LIMIT + REFUSED_LIMIT
    const bound = await this.#listen(port).catch(() => this.#listen(0))
    this.#jobs = new Jobs(this)
    new Autovacuum(this)
    tell({ port: bound })
  }

  #listen(port) {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(port, HOST, () => {
        this.#server.removeListener('error', reject)
        resolve(this.#server.address().port)
      })
    })
  }

  get full() {
    return this.#sessions.size > CONNECTION_LIMIT
  }

  ended(session) {
    this.#sessions.delete(session)
  }

  /** Ends in order: open transactions are rolled back, and a checkpoint makes the next start a quick one. */
  stop(reason) {
    if (this.#stopping) return
    this.#stopping = true
    log(`stopping: ${reason}`)
    this.#jobs?.stop()
    this.#server.close()
    for (const session of this.#sessions) session.fatal('57P01', 'terminating connection due to administrator command')
    this.turns.close()
    this.engine?.close()
    log('stopped')
    process.exit(0)
  }

  // A trap leaves the instance undefined; the write-ahead log is what counts. Our owner starts us again.
  #crash(error) {
    log(`the engine failed: ${error?.stack ?? error}`)
    for (const session of this.#sessions) session.lose()
    process.exit(CRASHED)
  }
}

const [packages, directory, port] = process.argv.slice(2)
const bridge = new Bridge()
// A statement may run for long, and nothing else in this thread with it: this one sees that our owner is gone.
new Worker(new URL('./watchdog.mjs', import.meta.url), { workerData: process.ppid }).unref()
for (const signal of ['SIGINT', 'SIGHUP']) process.on(signal, () => {})
process.on('SIGTERM', () => bridge.stop('SIGTERM'))
process.stdin.on('end', () => bridge.stop('the owner is gone')).on('error', () => bridge.stop('the owner is gone'))
process.stdin.resume()
// The owner's end of these may be gone; that is what stdin tells.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

try {
  await bridge.start(packages, directory, Number(port))
} catch (error) {
  log(error?.stack ?? String(error))
  tell({ error: error?.message ?? String(error) })
  process.exitCode = 1
  process.exit()
}
