// A COPY FROM STDIN whose data the client is sending: it is held here, outside of the engine, until it is whole.

import { ProtocolViolation, sync } from './wire.mjs'

export class CopyIn {
  /** The messages that start the COPY, as the client sent them, without what must not be done twice. */
  frames
  #extended
  #data = []
  #ended = false

  constructor(frames) {
    this.#extended = frames[0][0] !== 0x51
    // A named statement exists since the first run; the Sync of the batch is of no effect during a COPY.
    this.frames = this.#extended
      ? frames.filter((frame) => frame[0] !== 0x53 && !(frame[0] === 0x50 && frame[5] !== 0))
      : frames
  }

  /** Takes a message of the client; true: the COPY is complete and can be run. */
  feed(type, frame) {
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

  /** What follows `frames` on the wire. */
  get data() {
    return this.#extended ? [...this.#data, sync] : this.#data
  }

  // Clients send a message a row: views of neighbouring bytes are joined, or a million rows were a million objects.
  #append(frame) {
    const last = this.#data.at(-1)
    if (last?.buffer === frame.buffer && last.byteOffset + last.length === frame.byteOffset) {
      this.#data[this.#data.length - 1] = Buffer.from(frame.buffer, last.byteOffset, last.length + frame.length)
    } else this.#data.push(frame)
  }
}
