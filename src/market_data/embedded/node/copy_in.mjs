// A COPY FROM STDIN whose data is buffered outside of the engine until it is complete: the engine needs it all at once.

import { ProtocolViolation, sync } from './wire.mjs'

export class CopyIn {
  /** The client's messages that start the COPY, without those that must not be executed twice. */
  frames
  #extended
  #data = []
  #ended = false

  constructor(frames) {
    this.#extended = frames[0][0] !== 0x51
    // The run without data has parsed a named statement already, and a Sync has no effect during a COPY.
    this.frames = this.#extended
      ? frames.filter((frame) => frame[0] !== 0x53 && !(frame[0] === 0x50 && frame[5] !== 0))
      : frames
  }

  /** Add a message of the client. Returns true once the COPY is complete and can be run. */
  add(type, frame) {
    if (this.#ended) {
      if (type !== 'S') throw new ProtocolViolation('expected Sync after the end of COPY data')
      return true
    }
    if (type === 'H' || type === 'S') return false
    if (!'dcf'.includes(type)) {
      throw new ProtocolViolation(
        `unexpected message type 0x${frame[0].toString(16).toUpperCase()} during COPY from stdin`,
      )
    }
    this.#append(frame)
    if (type === 'd') return false
    this.#ended = true
    return !this.#extended
  }

  /** Messages that follow `frames` on the wire. */
  get data() {
    return this.#extended ? [...this.#data, sync] : this.#data
  }

  // Clients send one message a row: join views of adjacent bytes, because a million rows would be a million objects.
  #append(frame) {
    const last = this.#data.at(-1)
    if (last?.buffer === frame.buffer && last.byteOffset + last.length === frame.byteOffset) {
      this.#data[this.#data.length - 1] = Buffer.from(frame.buffer, last.byteOffset, last.length + frame.length)
    } else this.#data.push(frame)
  }
}
