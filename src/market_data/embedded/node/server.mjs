// The engine's process: opens the database, serves PostgreSQL's wire protocol on a loopback port and runs the database's
// jobs. It stops on SIGTERM and at the end of its standard input.
//
//   node server.mjs NODE_MODULES DATA_DIRECTORY PORT PASSFILE
//
// It writes lines of JSON to its standard output: { report } for the operator, { port } when it is ready, { error } if it
// can't start. Its log goes to standard error.

import { createServer } from 'node:net'
import { Worker } from 'node:worker_threads'

import { readCredentials } from './authentication.mjs'
import { startAutovacuum } from './autovacuum.mjs'
import { Channels } from './channels.mjs'
import { Engine } from './engine.mjs'
import { Jobs } from './jobs.mjs'
import { Scheduler } from './scheduler.mjs'
import { Session } from './session.mjs'
import { Settings } from './settings.mjs'

const HOST = '127.0.0.1'
const MAX_CONNECTIONS = 100
// Connections beyond the maximum that are accepted in order to send them the error.
const MAX_REFUSED_CONNECTIONS = 50

const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)
const log = (line) => process.stderr.write(`${new Date().toISOString()} ${line}\n`)

class Server {
  scheduler = new Scheduler()
  channels = new Channels()
  log = log
  #sessions = new Set()
  #listener = createServer({ allowHalfOpen: true }, (socket) => this.#sessions.add(new Session(this, socket)))
  #jobs = null
  #stopping = false

  async start(packages, directory, port, passfile) {
    this.credentials = readCredentials(passfile)
    this.engine = await Engine.open({
      directory,
      packages,
      log,
      report: (report) => print({ report }),
      onCrash: (error) => this.#crash(error),
    })
    // Notifications of jobs: they run without a connection.
    this.engine.onNotification = (body) => this.channels.route(body, 0)
    this.settings = new Settings(this.engine, log)
    this.#listener.maxConnections = MAX_CONNECTIONS + MAX_REFUSED_CONNECTIONS
    const boundPort = await this.#listen(port).catch(() => this.#listen(0))
    this.#jobs = new Jobs(this)
    startAutovacuum(this)
    print({ port: boundPort })
  }

  #listen(port) {
    return new Promise((resolve, reject) => {
      this.#listener.once('error', reject)
      this.#listener.listen(port, HOST, () => {
        this.#listener.removeListener('error', reject)
        resolve(this.#listener.address().port)
      })
    })
  }

  get isFull() {
    return this.#sessions.size > MAX_CONNECTIONS
  }

  remove(session) {
    this.#sessions.delete(session)
  }

  /** Roll back open transactions, write a checkpoint, which makes the next start fast, and exit. */
  stop(reason) {
    if (this.#stopping) return
    this.#stopping = true
    log(`stopping: ${reason}`)
    this.#jobs?.stop()
    this.#listener.close()
    for (const session of this.#sessions) session.fatal('57P01', 'terminating connection due to administrator command')
    this.scheduler.close()
    this.engine?.close()
    log('stopped')
    process.exit(0)
  }

  // The instance is undefined after a trap. The parent restarts the process, which recovers from the write-ahead log.
  #crash(error) {
    log(`the engine failed: ${error?.stack ?? error}`)
    for (const session of this.#sessions) session.reportCrash()
    // Not process.exit(), which waits for Node.js's other threads: after a crash it once never returned.
    process.kill(process.pid, 'SIGKILL')
  }
}

const [packages, directory, port, passfile] = process.argv.slice(2)
const server = new Server()
// A thread, because a long statement blocks this one, which then can't notice that the parent has ended.
new Worker(new URL('./watchdog.mjs', import.meta.url), { workerData: process.ppid }).unref()
for (const signal of ['SIGINT', 'SIGHUP']) process.on(signal, () => {})
process.on('SIGTERM', () => server.stop('SIGTERM'))
for (const event of ['end', 'error']) process.stdin.on(event, () => server.stop('the parent process has ended'))
process.stdin.resume()
// Writes fail once the parent has ended, which standard input reports as well.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

try {
  await server.start(packages, directory, Number(port), passfile)
} catch (error) {
  log(error?.stack ?? String(error))
  print({ error: error?.message ?? String(error) })
  process.exitCode = 1
  process.exit()
}
