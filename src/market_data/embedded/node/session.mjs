// One client connection, from its first byte to its cleanup.

import { randomBytes } from 'node:crypto'

import { Authentication } from './authentication.mjs'
import { ClientWriter } from './client_writer.mjs'
import { CopyIn } from './copy_in.mjs'
import { finishCopy, PendingEffects, runExchange } from './exchange.mjs'
import { PreparedStatements } from './prepared_statements.mjs'
import { CANCEL_REQUEST, ConnectionRefused, GSS_REQUEST, logIn, parseStartup, SSL_REQUEST } from './startup.mjs'
import { FrameReader, int32, message, ProtocolViolation, readyForQuery, sync } from './wire.mjs'

const STARTUP_TIMEOUT_MS = 30_000
// Maximum that is buffered of a connection's incomplete pipelines and COPY data.
const MAX_BUFFERED_BYTES = 1024 * 1024 * 1024
// Unread bytes behind an exchange that waits for its turn, above which the socket is paused.
const MAX_QUEUED_BYTES = 8 * 1024 * 1024
const PASSWORD_MESSAGE = new Set(['p'])
const FAILING_DESCRIBE = message('D', Buffer.from('S'), '@nothing')

let lastPid = 0

/**
 * `server` has the engine, its settings, scheduler, channels and log. A session is a task of the scheduler
 * (scheduler.mjs): it runs one exchange (exchange.mjs) a turn.
 */
export class Session {
  pid = ++lastPid
  /** Transaction status of the last ReadyForQuery: I(dle), in T(ransaction), E(rror in transaction). */
  status = 'I'
  /** The engine has executed a part of an extended-protocol pipeline, whose Sync has not arrived. */
  unfinished = false
  /** State of the settings (settings.mjs) to restore before an exchange, and the state after the start. */
  state = null
  initialState = null
  /** The settings may have changed since `state` was read. */
  stateOutdated = false
  /** Names in its queries that may be undeclared settings. */
  customNames = new Set()
  /** LISTENs and UNLISTENs of the open transaction. */
  listens = []
  effects = new PendingEffects()
  statements = null
  idleTimeoutMs = 0
  writer
  #server
  #socket
  #reader = new FrameReader()
  #phase = 'startup'
  #startup = null
  #authentication = null
  #frames = []
  #bufferedBytes = 0
  /** A complete exchange, a list of frames or a CopyIn, that waits for its turn. */
  #exchange = null
  #copy = null
  #inputEnded = false
  #startupTimer

  constructor(server, socket) {
    this.#server = server
    this.#socket = socket
    this.writer = new ClientWriter(socket)
    this.#startupTimer = setTimeout(() => this.end(), STARTUP_TIMEOUT_MS)
    socket.setNoDelay(true)
    socket.on('data', (chunk) => this.#receive(chunk))
    socket.on('drain', () => this.#requestTurn())
    socket.on('error', () => {})
    socket.on('end', () => {
      this.#inputEnded = true
      if (!this.#exchange) this.end()
    })
    socket.on('close', () => this.end())
  }

  /** True if it could use a turn now; false if its client does not read the responses. */
  get hasWork() {
    const work = this.#phase === 'login' || (this.#phase === 'ready' && this.#exchange !== null)
    return work && !this.writer.isFull
  }

  #receive(chunk) {
    if (this.#phase === 'ended') return
    this.#reader.push(chunk)
    this.#server.scheduler.restartIdleTimer(this)
    this.#read()
  }

  #read() {
    try {
      while (this.#phase === 'startup') {
        const body = this.#reader.nextStartup()
        if (!body) return
        this.#start(body)
      }
      while (this.#phase === 'authentication') {
        const frame = this.#reader.next(PASSWORD_MESSAGE)
        if (!frame) return
        this.#authenticate(frame.subarray(5))
      }
      // One exchange at a time: the meaning of the bytes behind it depends on whether it begins a COPY.
      while (this.#phase === 'ready' && !this.#exchange) {
        const frame = this.#reader.next()
        if (!frame) break
        this.#add(frame)
      }
    } catch (error) {
      if (!(error instanceof ProtocolViolation || error instanceof ConnectionRefused)) throw error
      this.fatal(error.code, error.message, error.hint)
    }
    if (this.#exchange && this.#reader.size > MAX_QUEUED_BYTES) this.#socket.pause()
    else if (this.#inputEnded && !this.#exchange && this.#phase !== 'login') this.end()
  }

  #start(body) {
    const code = body.readInt32BE(0)
    if (code === SSL_REQUEST || code === GSS_REQUEST) this.#socket.write('N')
    // Nothing can be cancelled: the process reads no request while a statement runs.
    else if (code === CANCEL_REQUEST) this.end()
    else {
      this.#startup = parseStartup(body)
      if (this.#server.isFull) throw new ConnectionRefused('53300', 'sorry, too many clients already')
      this.#authentication = new Authentication(this.#server.credentials, this.#startup.user)
      this.#socket.write(this.#authentication.request)
      this.#phase = 'authentication'
    }
  }

  #authenticate(body) {
    this.#socket.write(this.#authentication.answer(body))
    if (!this.#authentication.complete) return
    clearTimeout(this.#startupTimer)
    this.#phase = 'login'
    this.#requestTurn()
  }

  #add(frame) {
    const type = String.fromCharCode(frame[0])
    if (type === 'X') return this.end()
    // Data of a COPY that has failed, which the client has not noticed yet.
    if (!this.#copy && 'dcf'.includes(type)) return
    this.#bufferedBytes += frame.length
    if (this.#bufferedBytes > MAX_BUFFERED_BYTES) {
      throw new ProtocolViolation('more than 1 GB of data in one pipeline or COPY: split it', '54000')
    }
    if (this.#copy) {
      if (!this.#copy.add(type, frame)) return
      this.#exchange = this.#copy
      this.#copy = null
    } else {
      // A Flush alone would leave an unfinished exchange.
      if (type === 'H' && !this.#frames.length) return
      this.#frames.push(frame)
      if (!'QFSH'.includes(type)) return
      this.#exchange = this.#frames
      this.#frames = []
    }
    this.#requestTurn()
  }

  #requestTurn() {
    if (this.hasWork) this.#server.scheduler.request(this)
  }

  run() {
    if (this.hasWork) {
      if (this.#phase === 'login') this.#logIn()
      else this.#runExchange()
      this.#read()
    }
    return this.#phase !== 'ended' && this.#keepsEngine
  }

  get #keepsEngine() {
    return this.unfinished || this.status !== 'I'
  }

  #logIn() {
    const { user, settings, negotiation } = this.#startup
    let reported
    try {
      const login = logIn(this.#server, user, settings)
      Object.assign(this, { user, superuser: login.superuser, state: login.state, initialState: login.state })
      reported = login.reported
    } catch (error) {
      if (!(error instanceof ConnectionRefused)) throw error
      return this.fatal(error.code, error.message)
    }
    this.#phase = 'ready'
    this.statements = new PreparedStatements(this.#server.engine, this.pid, user, this.superuser)
    this.updateIdleTimeout(this.state)
    this.writer.send([
      ...(negotiation ? [negotiation] : []),
      message('R', int32(0)),
      ...this.writer.changedParameters(reported),
      message('K', int32(this.pid), randomBytes(4)),
      readyForQuery('I'),
    ])
  }

  #runExchange() {
    try {
      if (!this.#keepsEngine) this.#server.settings.switchTo(this.state)
    } catch (error) {
      return this.fatal('28000', error.message)
    }
    if (this.#exchange instanceof CopyIn) finishCopy(this.#server, this, this.#exchange)
    else this.#copy = runExchange(this.#server, this, this.#exchange)
    this.#exchange = null
    this.#bufferedBytes = 0
    this.#socket.resume()
  }

  updateIdleTimeout({ settings }) {
    this.idleTimeoutMs = Number(settings.get('idle_in_transaction_session_timeout') ?? 0)
  }

  /** Send a NotificationResponse: now if the connection is idle, else with its next ReadyForQuery. */
  notify(notification) {
    const busy = this.#keepsEngine || this.#exchange || this.#copy || this.#server.scheduler.current === this
    if (busy) this.writer.queueNotification(notification)
    else this.writer.send([notification])
  }

  onIdleTimeout() {
    this.fatal('25P03', 'terminating connection due to idle-in-transaction timeout')
  }

  /** End the connection with an error. */
  fatal(code, text, hint) {
    if (this.#phase === 'ended') return
    this.writer.fatal(code, text, hint)
    this.end()
  }

  /** Send the client an error after the engine has crashed; a cleanup in the engine is not possible. */
  reportCrash() {
    this.writer.fatal('57P02', 'the embedded engine failed and is restarting')
  }

  /** End the connection in any phase, and remove its traces from the engine. */
  end() {
    if (this.#phase === 'ended') return
    this.#phase = 'ended'
    clearTimeout(this.#startupTimer)
    this.#exchange = null
    this.#frames = []
    this.#copy = null
    const { engine, scheduler, channels, settings } = this.#server
    // A Sync alone would commit the executed part of the pipeline.
    if (this.unfinished) engine.execute([FAILING_DESCRIBE, sync])
    if (this.#keepsEngine) engine.query('ROLLBACK')
    if (this.stateOutdated || this.effects.settingsChanged) settings.read()
    scheduler.remove(this)
    channels.apply(this, [{ listen: false, channel: null }])
    const closes = this.statements?.closeAll() ?? []
    if (closes.length || channels.hasUnused) {
      scheduler.runExclusively(() => {
        if (closes.length) engine.execute([...closes, sync])
        channels.unlistenUnused(engine)
      })
    }
    this.#server.remove(this)
    this.writer.close()
  }
}
