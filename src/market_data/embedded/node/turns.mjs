// Whose turn it is on the engine: first come, first served, one batch a turn, and one owner while a transaction
// is open.

/**
 * A taker has `take()`, which does one batch of work and returns whether it must keep the engine; `pending`,
 * whether it has more to do; and, if it may keep the engine, `idleLimit` (ms, 0: none) and `idledOut()`.
 */
export class Turns {
  #waiting = []
  #holder = null
  #timer = null
  #scheduled = false
  /** Who is having a turn right now. */
  running = null
  #closed = false

  /** `taker` has work. It runs before this returns if the engine is free. */
  request(taker) {
    if (this.#closed) return
    if (this.#holder === taker) {
      this.#disarm()
      if (!this.#scheduled) this.#run(taker)
      return
    }
    if (!this.#waiting.includes(taker)) this.#waiting.push(taker)
    if (!this.#holder && !this.#scheduled) this.#next()
  }

  /** Runs `work` when no transaction is open; resolves to what it returns. */
  task(work) {
    return new Promise((resolve, reject) => {
      this.request({
        pending: false,
        take() {
          try {
            resolve(work())
          } catch (error) {
            reject(error)
          }
          return false
        },
      })
    })
  }

  /** The holder did something without having a batch yet: its idle time starts anew. */
  touch(taker) {
    if (this.#holder === taker && this.#timer) this.#arm()
  }

  /** `taker` is gone: it gives up the engine and its place in the queue. */
  leave(taker) {
    this.#waiting = this.#waiting.filter((other) => other !== taker)
    if (this.#holder === taker) {
      this.#disarm()
      this.#holder = null
      this.#schedule()
    }
  }

  close() {
    this.#closed = true
    this.#disarm()
    this.#waiting = []
  }

  #next() {
    const taker = this.#holder ? (this.#holder.pending ? this.#holder : null) : this.#waiting.shift()
    if (taker) this.#run(taker)
  }

  #run(taker) {
    // What take() causes (a socket closing) may ask for a turn; it has to wait for the end of this one.
    this.#scheduled = true
    this.running = taker
    const keeps = taker.take()
    this.running = null
    this.#scheduled = false
    if (this.#closed) return
    this.#holder = keeps ? taker : null
    if (keeps && !taker.pending) this.#arm()
    if (!keeps && taker.pending && !this.#waiting.includes(taker)) this.#waiting.push(taker)
    if (keeps ? taker.pending : this.#waiting.length) this.#schedule()
  }

  // Later, not now: between two batches the process reads its sockets, so that everyone gets into the queue.
  #schedule() {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      if (!this.#closed) this.#next()
    })
  }

  #arm() {
    this.#disarm()
    const holder = this.#holder
    if (holder.idleLimit) this.#timer = setTimeout(() => holder.idledOut(), holder.idleLimit)
  }

  #disarm() {
    clearTimeout(this.#timer)
    this.#timer = null
  }
}
