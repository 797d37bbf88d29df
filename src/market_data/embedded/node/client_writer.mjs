// Output to one client: responses, changed parameters, and notifications that wait for the end of a transaction.

import { errorResponse, parameterStatus } from './wire.mjs'

const MAX_UNREAD_BYTES = 16 * 1024 * 1024
const LINGER_MS = 1000

export class ClientWriter {
  #socket
  #notifications = []
  #reported = new Map()

  constructor(socket) {
    this.#socket = socket
  }

  /** True if the client reads more slowly than the engine responds. */
  get isFull() {
    return this.#socket.writableLength > MAX_UNREAD_BYTES
  }

  send(messages) {
    this.#socket.cork()
    for (const message of messages) if (message.length) this.#socket.write(message)
    this.#socket.uncork()
  }

  queueNotification(notification) {
    this.#notifications.push(notification)
  }

  /** Return the queued notifications and empty the queue. */
  drainNotifications() {
    return this.#notifications.splice(0)
  }

  /** Return ParameterStatus messages for the values that have changed since the last call. */
  changedParameters(values) {
    const changed = [...values].filter(([name, value]) => this.#reported.get(name) !== value)
    this.#reported = values
    return changed.map(([name, value]) => parameterStatus(name, value))
  }

  fatal(code, text, hint) {
    this.#socket.write(errorResponse({ severity: 'FATAL', code, message: text, hint }))
  }

  /** Close the connection. The delay lets a slow client read the last message. */
  close() {
    this.#socket.end()
    setTimeout(() => this.#socket.destroy(), LINGER_MS).unref()
  }
}
