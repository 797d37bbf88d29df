// LISTEN by connection. The engine's one session listens to the union of all channels; notifications are routed here.

import { identifier } from './settings.mjs'
import { int32, message, readString } from './wire.mjs'

export class Channels {
  #listeners = new Map()

  /** Apply the `{ listen, channel }` operations of a committed transaction; a null channel means all channels. */
  apply(session, operations) {
    for (const { listen, channel } of operations) {
      if (listen) {
        if (!this.#listeners.has(channel)) this.#listeners.set(channel, new Set())
        this.#listeners.get(channel).add(session)
      } else {
        const channels = channel === null ? this.#listeners.keys() : [channel]
        for (const name of channels) this.#listeners.get(name)?.delete(session)
      }
    }
  }

  /** True if a channel has lost its last listener. */
  get hasUnused() {
    return [...this.#listeners.values()].some((sessions) => !sessions.size)
  }

  /** UNLISTEN the channels without listeners. Call it outside of transactions only. */
  unlistenUnused(engine) {
    for (const [channel, sessions] of this.#listeners) {
      if (sessions.size) continue
      this.#listeners.delete(channel)
      engine.query(`UNLISTEN ${identifier(channel)}`)
    }
  }

  /** Send the body of a NotificationResponse to the listeners, as from the connection `pid`. */
  route(body, pid) {
    const [channel] = readString(body, 4)
    for (const session of this.#listeners.get(channel) ?? []) {
      session.notify(message('A', int32(pid), body.subarray(4)))
    }
  }
}
