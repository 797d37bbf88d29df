/** Repeating requests: after failures, and after events that call for a new one. */

const MIN_DELAY_MS = 2000;
const MAX_DELAY_MS = 30_000;

const reconnected = new EventTarget();
let reconnections = 0;

/** @returns {number} A failed read that began before the last one counts as the first failure: the next is likely to succeed. */
export function reconnectionCount() {
  return reconnections;
}

/** Wait before a repetition. @param {number} failures In a row, at least one. @param {AbortSignal} [signal] Ends the wait. */
export async function waitToRetry(failures, signal = undefined) {
  const jitter = 0.75 + Math.random() / 2; // keeps pages from retrying together
  const woken = new AbortController();
  reconnected.addEventListener("now", () => woken.abort(), { once: true, signal: woken.signal });
  const end = signal ? AbortSignal.any([signal, woken.signal]) : woken.signal;
  await sleep(Math.min(MIN_DELAY_MS * 2 ** (failures - 1), MAX_DELAY_MS) * jitter, end);
  woken.abort();
}

/** End all waits: the service can be reached again. */
export function retryNow() {
  reconnections += 1;
  reconnected.dispatchEvent(new Event("now"));
}

/** @param {number} ms @param {AbortSignal} [signal] Ends the wait early. */
export function sleep(ms, signal = undefined) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => (clearTimeout(timer), resolve(undefined)), { once: true });
  });
}

/**
 * Return a function that runs another one a while after the first of several calls, so that many events lead to one request.
 * @param {() => void} run
 * @param {number} ms
 */
export function delayed(run, ms) {
  let timer = 0;
  return () => {
    timer ||= setTimeout(() => {
      timer = 0;
      run();
    }, ms);
  };
}

/** Reads when requested, one read at a time, and repeats a failed one after a growing delay. */
export class Reader {
  #requested = false;
  #running = false;
  #read;
  #onError;
  #signal;

  /**
   * @param {() => Promise<void>} read
   * @param {(error: Error) => Promise<unknown> | void} onError Its promise ends the delay early.
   * @param {AbortSignal} signal Ends everything.
   */
  constructor(read, onError, signal) {
    this.#read = read;
    this.#onError = onError;
    this.#signal = signal;
  }

  /** Read now, or after the end of the read that is under way. */
  async request() {
    this.#requested = true;
    if (this.#running) return;
    this.#running = true;
    for (let failures = 0; this.#requested && !this.#signal.aborted; ) {
      this.#requested = false;
      const begun = reconnectionCount();
      try {
        await this.#read();
        failures = 0;
      } catch (error) {
        if (this.#signal.aborted) return;
        this.#requested = true;
        if (begun !== reconnectionCount()) failures = 0;
        const clicked = this.#onError(/** @type {Error} */ (error)) ?? new Promise(() => {});
        await Promise.race([waitToRetry(++failures, this.#signal), clicked]);
      }
    }
    this.#running = false;
  }
}
