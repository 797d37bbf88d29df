// What goes to one client: answers, what it must be told besides, and what has to wait until it may be told.

import { errorResponse, parameterStatus } from './wire.mjs'

const UNREAD_HIGH = 16 * 1024 * 1024
const LINGER_MS = 1000

export class Outbox {
  #socket
  #notifications = []
  #reported = new Map()

  constructor(socket) {
    this.#socket = socket
  }

  /** The client reads more slowly than we answer. */
  get clogged() {
    return this.#socket.writableLength > UNREAD_HIGH
  }

  /** Sends messages. */
  send(parts) {
    this.#socket.cork()
    for (const part of parts) if (part.length) this.#socket.write(part)
    this.#socket.uncork()
  }

  /** Keeps a notification for `notifications()`. */
  keep(notification) {
    this.#notifications.push(notification)
  }

  /** The notifications that were kept. */
  notifications() {
    return this.#notifications.splice(0)
  }

  /** The ParameterStatus messages for those of the reported settings whose values are news to the client. */
  parameters(reported) {
    const changed = [...reported].filter(([name, value]) => this.#reported.get(name) !== value)
    this.#reported = reported
    return changed.map(([name, value]) => parameterStatus(name, value))
  }

  fatal(code, text, hint) {
    this.#socket.write(errorResponse({ severity: 'FATAL', code, message: text, hint }))
  }

  /** Closes the connection; a client that doesn't read what was written last has a moment to do so. */
  close() {
    this.#socket.end()
    setTimeout(() => this.#socket.destroy(), LINGER_MS).unref()
  }
}
