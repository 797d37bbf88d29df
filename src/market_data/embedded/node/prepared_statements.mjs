// Prepared statements of one connection, on a session that all connections share: the engine knows them by names with a
// suffix, and the one unnamed statement is parsed again after another connection has replaced it.

import { createHash } from 'node:crypto'

import { identifier, isSupportedEncoding, literal } from './settings.mjs'
import { scan } from './sql_scanner.mjs'
import { closeStatement, message, readString } from './wire.mjs'

// PostgreSQL truncates names to 63 bytes, which must not cut off the suffix.
const MAX_NAME_BYTES = 48
// A statement without effect in place of one that would affect all connections. Its command tag is replaced as well.
const NO_OPERATION = 'UNLISTEN "@nobody"'
const HIDDEN_CHANGE = /set_config|session_authorization/i
const CUSTOM_SETTING = /\bset\s+(?:session\s+|local\s+)?([a-z_]\w*(?:\.\w+)+)/gi
const DOTTED_NAME = /\b([a-z_]\w*(?:\.\w+)+)\b/gi

/** Frames for the engine in place of an exchange's frames, and effects that the server has to apply itself. */
class Translation {
  frames = []
  /** ParseCompletes by position that answer a repeated Parse of the unnamed statement, not one of the client's. */
  hiddenParses = []
  parseCount = 0
  executeCount = 0
  /** The client's command tags for the UNLISTENs, in order. */
  tags = []
  channels = []
  /** Names that may be undeclared settings. */
  customNames = []
  /** The exchange closes all prepared statements. */
  closesAll = false
  discardsAll = false
  /** The exchange may change settings by set_config(). */
  mayChangeSettings = false
  /** The exchange is a single COPY FROM STDIN. */
  copyIn = false
}

export class PreparedStatements {
  #engine
  #suffix
  #user
  #superuser
  /** Found constructs (sql_scanner.mjs) of the named statements, by the engine's name. */
  #named = new Map()
  #unnamed = null
  /** The connection has used set_config(): any statement may change settings, whose names may be parameters. */
  #mayChangeSettings = false

  constructor(engine, id, user, superuser) {
    this.#engine = engine
    this.#suffix = `@${id}`
    this.#user = user
    this.#superuser = superuser
  }

  /** Return an error message with the client's names of statements; null if it has none. */
  restoreNames(bytes) {
    const end = `${this.#suffix}"`
    return bytes.includes(end) ? bytes.toString('latin1').replaceAll(end, '"') : null
  }

  /** Forget all statements and return the messages that close them in the engine. */
  closeAll() {
    const frames = [...this.#named.keys()].map((name) => closeStatement(name))
    this.#named.clear()
    this.#unnamed = null
    return frames
  }

  /** Return the Translation of an exchange's frames. */
  translate(frames) {
    const translation = new Translation()
    for (const frame of frames) {
      try {
        this.#translate(frame, translation)
      } catch {
        // A malformed message: the engine's error describes it better.
        translation.frames.push(frame)
      }
    }
    translation.copyIn &&= translation.executeCount === 1
    translation.mayChangeSettings = this.#mayChangeSettings
    return translation
  }

  #translate(frame, translation) {
    const type = String.fromCharCode(frame[0])
    const body = frame.subarray(5)
    if (type === 'Q') this.#query(frame, body, translation)
    else if (type === 'P') this.#parse(frame, body, translation)
    else if (type === 'B') this.#bind(frame, body, translation)
    else if ((type === 'D' || type === 'C') && body[0] === 0x53) {
      const [name] = readString(body, 1)
      const engineName =
        type === 'D' ? this.#lookUp(name, translation).engineName : name && this.#engineName(name)
      if (type === 'C') this.#named.delete(engineName)
      if (type === 'C' && !name) this.#unnamed = null
      translation.frames.push(engineName ? message(type, body.subarray(0, 1), engineName) : frame)
    } else {
      if (type === 'E') translation.executeCount += 1
      translation.frames.push(frame)
    }
  }

  #query(frame, body, translation) {
    const { text, found } = this.#rewrite(body.toString('latin1', 0, body.length - 1), translation)
    translation.executeCount += 1
    this.#addEffects(found, translation)
    this.#unnamed = this.#engine.unnamedStatementOwner = null
    translation.frames.push(found?.edited ? message('Q', Buffer.from(`${text}\0`, 'latin1')) : frame)
  }

  #parse(frame, body, translation) {
    const [name, afterName] = readString(body, 0)
    const end = body.indexOf(0, afterName)
    const { text, found } = this.#rewrite(body.toString('latin1', afterName, end), translation)
    let translated = frame
    if (name || found?.edited) {
      const types = body.subarray(end + 1)
      translated = message('P', name ? this.#engineName(name) : '', Buffer.from(`${text}\0`, 'latin1'), types)
    }
    if (name) this.#named.set(this.#engineName(name), found)
    else {
      this.#unnamed = { frame: translated, found }
      this.#engine.unnamedStatementOwner = this
    }
    translation.parseCount += 1
    translation.frames.push(translated)
  }

  #bind(frame, body, translation) {
    const [, afterPortal] = readString(body, 0)
    const [name, afterName] = readString(body, afterPortal)
    const { engineName, found } = this.#lookUp(name, translation)
    this.#addEffects(found, translation)
    if (this.#mayChangeSettings) this.#collectCustomNames(body.toString('latin1', afterName), translation)
    translation.frames.push(
      engineName ? message('B', body.subarray(0, afterPortal), engineName, body.subarray(afterName)) : frame,
    )
  }

  /** Return the engine's name and the found constructs of a statement. Parses the unnamed one again if necessary. */
  #lookUp(name, translation) {
    const engineName = this.#engineName(name)
    if (name) return { engineName, found: this.#named.get(engineName) }
    // The suffix alone is never the name of a statement.
    if (!this.#unnamed) return { engineName }
    if (this.#engine.unnamedStatementOwner !== this) {
      this.#engine.unnamedStatementOwner = this
      translation.hiddenParses.push(translation.parseCount)
      translation.parseCount += 1
      translation.frames.push(this.#unnamed.frame)
    }
    return { engineName: '', found: this.#unnamed.found }
  }

  #addEffects(found, translation) {
    if (!found) return
    translation.channels.push(...found.channels)
    translation.tags.push(...found.tags)
    translation.discardsAll ||= found.discardsAll
    translation.closesAll ||= found.closesAll
    translation.copyIn ||= found.copyIn
  }

  #collectCustomNames(text, translation) {
    const names = text.matchAll(this.#mayChangeSettings ? DOTTED_NAME : CUSTOM_SETTING)
    for (const [, name] of names) translation.customNames.push(name.toLowerCase())
  }

  /** Return a query as the engine must receive it, and the constructs found in it. */
  #rewrite(text, translation) {
    if (HIDDEN_CHANGE.test(text)) this.#mayChangeSettings = true
    this.#collectCustomNames(text, translation)
    if (!this.#superuser && /session_authorization/i.test(text)) return this.#denied()
    const scanned = scan(text)
    if (!scanned) return { text, found: null }
    const found = { ...scanned, tags: [], edited: scanned.edits.length > 0, closesAll: false, discardsAll: false }
    let rewritten = ''
    let from = 0
    for (const edit of found.edits) {
      const replacement = this.#replacement(edit, text.slice(edit.start, edit.end), found)
      if (replacement === null) return this.#denied()
      rewritten += text.slice(from, edit.start) + replacement
      from = edit.end
    }
    return { text: rewritten + text.slice(from), found }
  }

  #replacement({ kind, name }, original, found) {
    if (kind === 'statement') {
      const engineName = this.#engineName(name)
      if (!this.#named.has(engineName)) this.#named.set(engineName, null)
      return Buffer.from(identifier(engineName)).toString('latin1')
    }
    if (kind === 'reset authorization') return `SET SESSION AUTHORIZATION ${identifier(this.#user)}`
    if (kind === 'authorization') return this.#superuser || name === this.#user ? original : null
    if (kind === 'default authorization') return identifier(this.#user)
    if (kind === 'encoding') {
      return isSupportedEncoding(original) ? original : literal('not available in the embedded engine')
    }
    found.tags.push(kind.toUpperCase())
    found.discardsAll ||= kind === 'discard all'
    found.closesAll ||= kind !== 'unlisten'
    return NO_OPERATION
  }

  // The engine treats every connection as the superuser that opened it. SET ROLE is refused as PostgreSQL would refuse
  // the original statement.
  #denied() {
    return { text: 'SET ROLE postgres', found: { edited: true, channels: [], tags: [] } }
  }

  #engineName(name) {
    const short =
      Buffer.byteLength(name) > MAX_NAME_BYTES
        ? createHash('sha256').update(name).digest('hex').slice(0, MAX_NAME_BYTES)
        : name
    return `${short}${this.#suffix}`
  }
}
