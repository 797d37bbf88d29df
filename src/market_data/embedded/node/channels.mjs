// Which connections LISTEN to what. The engine listens to the union; its notifications are handed on here.

import { cString, int32, message } from './wire.mjs'
import { identifier } from './settings.mjs'

export class Channels {
  #listeners = new Map()

  /** Applies a committed transaction's `{ listen, channel }` of a connection; a null channel means all of them. */
  apply(session, operations) {
    for (const { listen, channel } of operations) {
      if (listen) {
        if (!this.#listeners.has(channel)) this.#listeners.set(channel, new Set())
        this.#listeners.get(channel).add(session)
      } else if (channel === null) for (const name of this.#listeners.keys()) this.#remove(name, session)
      else this.#remove(channel, session)
    }
  }

  #remove(channel, session) {
    this.#listeners.get(channel)?.delete(session)
  }

  /** Whether some channel lost its last listener. */
  get stale() {
    return [...this.#listeners.values()].some((sessions) => !sessions.size)
  }

  /** Stops the engine listening where nobody does; outside of transactions only. */
  sweep(engine) {
    for (const [channel, sessions] of this.#listeners) {
      if (sessions.size) continue
      this.#listeners.delete(channel)
      engine.query(`UNLISTEN ${identifier(channel)}`)
    }
  }

  /** Hands a NotificationResponse's body on, as from the connection `pid`. */
  route(body, pid) {
    const [channel] = cString(body, 4)
    for (const session of this.#listeners.get(channel) ?? []) {
      session.notify(message('A', int32(pid), body.subarray(4)))
    }
  }
}
