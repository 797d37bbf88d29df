// One connection's prepared statements among everyone's: the engine knows them under names of their own, and
// the one unnamed statement is prepared again when another connection has replaced it.

import { createHash } from 'node:crypto'

import { identifier, isEncoding, literal } from './settings.mjs'
import { concernsOf } from './statements.mjs'
import { closeStatement, cString, message } from './wire.mjs'

// PostgreSQL cuts names to 63 bytes; the suffix must survive.
const LONGEST = 48
const NO_CHANNEL = 'UNLISTEN "@nobody"'
const UNSEEN_CHANGE = /set_config|session_authorization/i
const CUSTOM_SET = /\bset\s+(?:session\s+|local\s+)?([a-z_]\w*(?:\.\w+)+)/gi
const CUSTOM_NAME = /\b([a-z_]\w*(?:\.\w+)+)\b/gi

export class Names {
  #suffix
  #user
  #superuser
  #known = new Map()
  #unnamed = null
  #engine
  /** It has spoken of set_config(): any of its statements may change settings, by names given as parameters. */
  #opaque = false

  constructor(engine, id, user, superuser) {
    this.#engine = engine
    this.#suffix = `@${id}`
    this.#user = user
    this.#superuser = superuser
  }

  /** Error messages name statements: the name as the client knows it. */
  restore(bytes) {
    const mark = `${this.#suffix}"`
    return bytes.includes(mark) ? bytes.toString('latin1').replaceAll(mark, '"') : null
  }

  /** Messages that close every statement of this connection. */
  closeAll() {
    const frames = [...this.#known.keys()].map((name) => closeStatement(name))
    this.#known.clear()
    this.#unnamed = null
    return frames
  }

  /**
   * What to give the engine in place of a batch's `frames`, and what the batch concerns besides:
   * `parses` (numbers of ParseCompletes that answer messages of ours), `tags` (the command tags for UNLISTENs, in
   * order), `channels`, `discardAll`, `closesAll` (statements), `custom` (names that may be undeclared settings),
   * `opaque` (it may change settings unseen), and `copyIn` (it is one COPY FROM STDIN).
   */
  translate(frames) {
    const work = {
      frames: [],
      parses: [],
      parseCount: 0,
      tags: [],
      channels: [],
      custom: [],
      closesAll: false,
      discardAll: false,
      copyIn: false,
      executions: 0,
    }
    for (const frame of frames) {
      try {
        this.#translate(frame, work)
      } catch {
        // Not a well-formed message: the engine says so better.
        work.frames.push(frame)
      }
    }
    work.copyIn &&= work.executions === 1
    work.opaque = this.#opaque
    return work
  }

  #translate(frame, work) {
    const type = String.fromCharCode(frame[0])
    const body = frame.subarray(5)
    if (type === 'Q') {
      const { text, concerns } = this.#edited(body.toString('latin1', 0, body.length - 1), work)
      work.executions += 1
      this.#use(concerns, work)
      this.#unnamed = this.#engine.unnamedOwner = null
      work.frames.push(concerns?.edited ? message('Q', Buffer.from(`${text}\0`, 'latin1')) : frame)
    } else if (type === 'P') this.#parse(frame, body, work)
    else if (type === 'B') {
      const [, afterPortal] = cString(body, 0)
      const [name, rest] = cString(body, afterPortal)
      const { inner, concerns } = this.#statement(name, work)
      this.#use(concerns, work)
      if (this.#opaque) this.#noteCustom(body.toString('latin1', rest), work)
      work.frames.push(
        inner ? message('B', body.subarray(0, afterPortal), inner, body.subarray(rest)) : frame,
      )
    } else if ((type === 'D' || type === 'C') && body[0] === 0x53) {
      const [name] = cString(body, 1)
      const inner = type === 'D' ? this.#statement(name, work).inner : name && this.#inner(name)
      if (type === 'C') this.#known.delete(inner)
      if (type === 'C' && !name) this.#unnamed = null
      work.frames.push(inner ? message(type, body.subarray(0, 1), inner) : frame)
    } else {
      if (type === 'E') work.executions += 1
      work.frames.push(frame)
    }
  }

  #parse(frame, body, work) {
    const [name, afterName] = cString(body, 0)
    const end = body.indexOf(0, afterName)
    const { text, concerns } = this.#edited(body.toString('latin1', afterName, end), work)
    let inner = frame
    if (name || concerns?.edited) {
      const types = body.subarray(end + 1)
      inner = message('P', name ? this.#inner(name) : '', Buffer.from(`${text}\0`, 'latin1'), types)
    }
    if (name) this.#known.set(this.#inner(name), concerns)
    else {
      this.#unnamed = { frame: inner, concerns }
      this.#engine.unnamedOwner = this
    }
    work.parseCount += 1
    work.frames.push(inner)
  }

  /** The engine's name of a prepared statement, and its concerns; sees to it that the unnamed one is ours. */
  #statement(name, work) {
    if (name) return { inner: this.#inner(name), concerns: this.#known.get(this.#inner(name)) }
    // A name that never exists.
    if (!this.#unnamed) return { inner: this.#inner('') }
    if (this.#engine.unnamedOwner !== this) {
      this.#engine.unnamedOwner = this
      work.parses.push(work.parseCount)
      work.parseCount += 1
      work.frames.push(this.#unnamed.frame)
    }
    return { inner: '', concerns: this.#unnamed.concerns }
  }

  #use(concerns, work) {
    if (!concerns) return
    work.channels.push(...concerns.channels)
    work.tags.push(...concerns.tags)
    if (concerns.discardAll) work.discardAll = true
    if (concerns.closesAll) work.closesAll = true
    if (concerns.copyIn) work.copyIn = true
  }

  #noteCustom(text, work) {
    const names = text.matchAll(this.#opaque ? CUSTOM_NAME : CUSTOM_SET)
    for (const [, name] of names) work.custom.push(name.toLowerCase())
  }

  /** A text as the engine is to see it. */
  #edited(text, work) {
    if (UNSEEN_CHANGE.test(text)) this.#opaque = true
    this.#noteCustom(text, work)
    let concerns = concernsOf(text)
    if (!this.#superuser && /session_authorization/i.test(text)) return this.#denied()
    if (!concerns) return { text, concerns }
    concerns = { ...concerns, tags: [], edited: concerns.edits.length > 0 }
    let edited = ''
    let from = 0
    for (const edit of concerns.edits) {
      const replacement = this.#replacement(edit, text.slice(edit.start, edit.end), concerns)
      if (replacement === null) return this.#denied()
      edited += text.slice(from, edit.start) + replacement
      from = edit.end
    }
    return { text: edited + text.slice(from), concerns }
  }

  #replacement({ kind, name }, original, concerns) {
    if (kind === 'statement') {
      const inner = this.#inner(name)
      if (!this.#known.has(inner)) this.#known.set(inner, null)
      return Buffer.from(identifier(inner)).toString('latin1')
    }
    if (kind === 'reset authorization') return `SET SESSION AUTHORIZATION ${identifier(this.#user)}`
    if (kind === 'authorization') return this.#superuser || name === this.#user ? original : null
    if (kind === 'default authorization') return identifier(this.#user)
    if (kind === 'encoding') return isEncoding(original) ? original : literal('not available in the embedded engine')
    concerns.tags.push(kind.toUpperCase())
    if (kind === 'discard all') concerns.discardAll = true
    if (kind !== 'unlisten') concerns.closesAll = true
    return NO_CHANNEL
  }

  // The engine takes every connection for the superuser that opened it; PostgreSQL would refuse, as it does this.
  #denied() {
    return { text: 'SET ROLE postgres', concerns: { edited: true, channels: [], tags: [] } }
  }

  #inner(name) {
    const short =
      Buffer.byteLength(name) > LONGEST ? createHash('sha256').update(name).digest('hex').slice(0, LONGEST) : name
    return `${short}${this.#suffix}`
  }
}
