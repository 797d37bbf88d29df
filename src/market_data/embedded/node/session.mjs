// One client connection, from its first byte to its cleaning up.

import { randomBytes } from 'node:crypto'

import { Effects, finishCopy, runBatch } from './batch.mjs'
import { CopyIn } from './copyin.mjs'
import { CANCEL_REQUEST, GSS_REQUEST, logIn, readStartup, Refusal, SSL_REQUEST } from './login.mjs'
import { Names } from './names.mjs'
import { Outbox } from './outbox.mjs'
import { FrameReader, int32, message, ProtocolViolation, readyForQuery, sync } from './wire.mjs'

const STARTUP_LIMIT_MS = 30_000
// What a connection may have the bridge hold of unfinished pipelines and of COPY data.
const HELD_LIMIT = 1024 * 1024 * 1024
const QUEUED_HIGH = 8 * 1024 * 1024
const FAILING = message('D', Buffer.from('S'), '@nothing')

let lastPid = 0

/**
 * `bridge` has the engine, its settings, turns, channels and log. A session is a taker of turns (turns.mjs): a turn
 * is a batch, which is everything up to a Sync or a Flush, or one simple query.
 */
export class Session {
  pid = ++lastPid
  /** What the last ReadyForQuery said: I(dle), in T(ransaction), E(rror in transaction). */
  status = 'I'
  /** The engine is in the middle of an extended-protocol batch: its Sync is still to come. */
  unfinished = false
  /** The state of settings (settings.mjs) to be restored before a batch, and the one at the start. */
  state = null
  initial = null
  /** Something may have changed the settings since `state` was read. */
  unsettled = false
  custom = new Set()
  /** LISTENs and UNLISTENs of the open transaction. */
  listens = []
  effects = new Effects()
  names = null
  idleLimit = 0
  outbox
  #bridge
  #socket
  #reader = new FrameReader()
  #phase = 'startup'
  #startup = null
  #frames = []
  #held = 0
  #batch = null
  #copy = null
  #finished = false
  #timer

  constructor(bridge, socket) {
    this.#bridge = bridge
    this.#socket = socket
    this.outbox = new Outbox(socket)
    this.#timer = setTimeout(() => this.end(), STARTUP_LIMIT_MS)
    socket.setNoDelay(true)
    socket.on('data', (chunk) => this.#receive(chunk))
    socket.on('drain', () => this.#proceed())
    socket.on('error', () => {})
    socket.on('end', () => {
      this.#finished = true
      if (!this.#batch) this.end()
    })
    socket.on('close', () => this.end())
  }

  /** Whether it could use a turn now. One whose client doesn't read its answers can't. */
  get pending() {
    const work = this.#phase === 'login' || (this.#phase === 'ready' && this.#batch !== null)
    return work && !this.outbox.clogged
  }

  #receive(chunk) {
    if (this.#phase === 'ended') return
    this.#reader.push(chunk)
    this.#bridge.turns.touch(this)
    this.#read()
  }

  #read() {
    try {
      while (this.#phase === 'startup') {
        const body = this.#reader.nextStartup()
        if (!body) return
        this.#start(body)
      }
      // One batch at a time: what the bytes behind it mean depends on whether it turns out to be a COPY.
      while (this.#phase === 'ready' && !this.#batch) {
        const frame = this.#reader.next()
        if (!frame) break
        this.#accept(frame)
      }
    } catch (error) {
      if (!(error instanceof ProtocolViolation || error instanceof Refusal)) throw error
      this.fatal(error.code, error.message, error.hint)
    }
    if (this.#batch && this.#reader.size > QUEUED_HIGH) this.#socket.pause()
    else if (this.#finished && !this.#batch && this.#phase !== 'login') this.end()
  }

  #start(body) {
    const code = body.readInt32BE(0)
    if (code === SSL_REQUEST || code === GSS_REQUEST) this.#socket.write('N')
    // Nothing can be cancelled: a statement runs to its end before the process reads anything.
    else if (code === CANCEL_REQUEST) this.end()
    else {
      this.#startup = readStartup(body)
      if (this.#bridge.full) throw new Refusal('53300', 'sorry, too many clients already')
      clearTimeout(this.#timer)
      this.#phase = 'login'
      this.#proceed()
    }
  }

  #accept(frame) {
    const type = String.fromCharCode(frame[0])
    if (type === 'X') return this.end()
    // Outside of a COPY: what a client still sends of one that has failed.
    if (!this.#copy && 'dcf'.includes(type)) return
    this.#held += frame.length
    if (this.#held > HELD_LIMIT) throw new ProtocolViolation('too much data to hold for one statement', '54000')
    if (this.#copy) {
      if (!this.#copy.feed(type, frame)) return
      this.#batch = this.#copy
      this.#copy = null
    } else {
      // Nothing to flush: it would seem to begin a batch.
      if (type === 'H' && !this.#frames.length) return
      this.#frames.push(frame)
      if (!'QFSH'.includes(type)) return
      this.#batch = this.#frames
      this.#frames = []
    }
    this.#proceed()
  }

  #proceed() {
    if (this.pending) this.#bridge.turns.request(this)
  }

  /** Takes its turn; true: it must keep the engine. */
  take() {
    if (this.pending) {
      if (this.#phase === 'login') this.#logIn()
      else this.#run(this.#batch)
      this.#read()
    }
    return this.#phase !== 'ended' && this.#keeps
  }

  get #keeps() {
    return this.unfinished || this.status !== 'I'
  }

  #logIn() {
    const { user, settings, negotiation } = this.#startup
    let reported
    try {
      const login = logIn(this.#bridge, user, settings)
      Object.assign(this, { user, superuser: login.superuser, state: login.state, initial: login.state })
      reported = login.reported
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      return this.fatal(error.code, error.message)
    }
    this.#phase = 'ready'
    this.names = new Names(this.#bridge.engine, this.pid, user, this.superuser)
    this.noteIdleLimit(this.state)
    this.outbox.send([
      ...(negotiation ? [negotiation] : []),
      message('R', int32(0)),
      ...this.outbox.parameters(reported),
      message('K', int32(this.pid), randomBytes(4)),
      readyForQuery('I'),
    ])
  }

  #run(batch) {
    try {
      if (!this.#keeps) this.#bridge.settings.switchTo(this.state)
    } catch (error) {
      return this.fatal('28000', error.message)
    }
    if (batch instanceof CopyIn) finishCopy(this.#bridge, this, batch)
    else this.#copy = runBatch(this.#bridge, this, batch)
    this.#batch = null
    this.#held = 0
    this.#socket.resume()
  }

  /** How long it may idle in a transaction, by its settings. */
  noteIdleLimit({ settings }) {
    this.idleLimit = Number(settings.get('idle_in_transaction_session_timeout') ?? 0)
  }

  /** A NotificationResponse for this connection: sent now if it is idle, else with its next ReadyForQuery. */
  notify(notification) {
    const busy = this.#keeps || this.#batch || this.#copy || this.#bridge.turns.running === this
    if (busy) this.outbox.keep(notification)
    else this.outbox.send([notification])
  }

  idledOut() {
    this.fatal('25P03', 'terminating connection due to idle-in-transaction timeout')
  }

  /** Ends the connection with an error. */
  fatal(code, text, hint) {
    if (this.#phase === 'ended') return
    this.outbox.fatal(code, text, hint)
    this.end()
  }

  /** The engine has failed: tells the client, and touches nothing else. */
  lose() {
    this.outbox.fatal('57P02', 'the embedded engine failed and is restarting')
  }

  /** Ends the connection, however far it got, and takes away what it leaves in the engine. */
  end() {
    if (this.#phase === 'ended') return
    this.#phase = 'ended'
    clearTimeout(this.#timer)
    this.#batch = null
    this.#frames = []
    this.#copy = null
    const { engine, turns, channels } = this.#bridge
    // A Sync alone would commit what the batch has done so far.
    if (this.unfinished) engine.exchange([FAILING, sync])
    if (this.#keeps) engine.query('ROLLBACK')
    if (this.unsettled || this.effects.dirty) this.#bridge.settings.read()
    turns.leave(this)
    channels.apply(this, [{ listen: false, channel: null }])
    const closes = this.names?.closeAll() ?? []
    if (closes.length || channels.stale) {
      turns.task(() => {
        if (closes.length) engine.exchange([...closes, sync])
        channels.sweep(engine)
      })
    }
    this.#bridge.ended(this)
    this.outbox.close()
  }
}
