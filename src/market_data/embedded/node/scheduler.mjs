// Scheduling of the engine's one session: first come, first served, one exchange a turn. A task whose transaction is
// open keeps the engine until it ends.

/**
 * A task has `run()`, which does one exchange and returns true if the task must keep the engine; `hasWork`; and, if it
 * may keep the engine, `idleTimeoutMs` (0: none) and `onIdleTimeout()`.
 */
export class Scheduler {
  #queue = []
  #owner = null
  #idleTimer = null
  /** True while a task runs and while the next run is scheduled: both keep a request from running at once. */
  #scheduled = false
  #closed = false
  /** The task that runs now. */
  current = null

  /** Queue a task that has work. It runs before this returns if the engine is free. */
  request(task) {
    if (this.#closed) return
    if (this.#owner === task) {
      this.#stopIdleTimer()
      if (!this.#scheduled) this.#run(task)
      return
    }
    this.#enqueue(task)
    if (!this.#owner && !this.#scheduled) this.#runNext()
  }

  /** Run `work` when no transaction is open; resolves to its result. */
  runExclusively(work) {
    return new Promise((resolve, reject) => {
      this.request({
        hasWork: false,
        run() {
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

  /** Restart the idle time-out of the owner, which has received a part of an exchange. */
  restartIdleTimer(task) {
    if (this.#owner === task && this.#idleTimer) this.#startIdleTimer()
  }

  /** Remove a task from the queue; if it owns the engine, release the engine. */
  remove(task) {
    this.#queue = this.#queue.filter((other) => other !== task)
    if (this.#owner === task) {
      this.#stopIdleTimer()
      this.#owner = null
      this.#schedule()
    }
  }

  close() {
    this.#closed = true
    this.#stopIdleTimer()
    this.#queue = []
  }

  #enqueue(task) {
    if (!this.#queue.includes(task)) this.#queue.push(task)
  }

  #runNext() {
    const task = this.#owner ? (this.#owner.hasWork ? this.#owner : null) : this.#queue.shift()
    if (task) this.#run(task)
  }

  #run(task) {
    // A request made from within run(), for example by a socket that closes, has to wait until it returns.
    this.#scheduled = true
    this.current = task
    const keepsEngine = task.run()
    this.current = null
    this.#scheduled = false
    if (this.#closed) return
    this.#owner = keepsEngine ? task : null
    if (keepsEngine && !task.hasWork) this.#startIdleTimer()
    if (!keepsEngine && task.hasWork) this.#enqueue(task)
    if (keepsEngine ? task.hasWork : this.#queue.length) this.#schedule()
  }

  // Not run at once: between two exchanges the process reads its sockets, so that every client gets into the queue.
  #schedule() {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      if (!this.#closed) this.#runNext()
    })
  }

  #startIdleTimer() {
    this.#stopIdleTimer()
    const owner = this.#owner
    if (owner.idleTimeoutMs) this.#idleTimer = setTimeout(() => owner.onIdleTimeout(), owner.idleTimeoutMs)
  }

  #stopIdleTimer() {
    clearTimeout(this.#idleTimer)
    this.#idleTimer = null
  }
}
