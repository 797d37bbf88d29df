/** Reads the candles of one symbol and interval, and applies stream events to them. */

import { Reader } from "./retry.js";

/** @typedef {import("./candles.js").Bar} Bar @typedef {import("./candles.js").Change} Change */

export class CandleReader {
  #candles;
  #signal;
  #onRead;
  #loaded = false;
  /** @type {"nothing" | "newest" | "all"} Loaded candles that may be wrong, so that they must be read again. */
  #outdated = "all";
  #needsOlder = false;
  /** Time that older candles must reach; one page more if it is infinite. */
  #olderUntil = Infinity;
  /** @type {any[] | null} Candle events since the start of the request that runs. */
  #eventsSinceRequest = null;
  #reader;

  /**
   * @param {import("./candles.js").Candles} candles
   * @param {AbortSignal} signal Ends everything.
   * @param {object} callbacks
   * @param {(first: boolean) => void} callbacks.onRead True if there was no candle before.
   * @param {(error: Error) => Promise<unknown> | void} callbacks.onError Its promise ends the delay of the repetition early.
   */
  constructor(candles, signal, { onRead, onError }) {
    this.#candles = candles;
    this.#signal = signal;
    this.#onRead = onRead;
    this.#reader = new Reader(() => this.#readNeeded(), onError, signal);
  }

  /** @returns {boolean} False until candles have been read; there may be none. */
  get loaded() {
    return this.#loaded;
  }

  /** Read all loaded candles again, because events were missed. */
  reload() {
    this.#outdated = "all";
    this.#reader.request();
  }

  /** Read the newest candles again, in case they were changed without an event. */
  refresh() {
    if (this.#outdated === "nothing") this.#outdated = "newest";
    this.#reader.request();
  }

  /** Load older candles. @param {number} [until] Time that they must reach; one page by default. */
  loadOlder(until = Infinity) {
    this.#needsOlder = true;
    this.#olderUntil = Math.min(this.#olderUntil, until);
    this.#reader.request();
  }

  /**
   * Apply a candle event of the stream; those of other symbols and intervals are ignored.
   * @param {any} candle
   * @returns {{bar: Bar, change: Change} | null} Null if nothing has changed.
   */
  apply(candle) {
    const { symbol, interval } = this.#candles;
    if (candle.symbol !== symbol || candle.interval !== interval.name) return null;
    this.#eventsSinceRequest?.push(candle);
    if (!this.#loaded) return null;
    const applied = this.#candles.apply(candle);
    if (applied.change === "ignored") return null;
    if (!this.#candles.bars.length) this.reload(); // there may be older ones
    return applied;
  }

  async #readNeeded() {
    const [candles, outdated] = [this.#candles, this.#outdated];
    if (outdated !== "nothing") {
      this.#outdated = "nothing";
      try {
        await this.#read(() => candles.loadNewest(this.#signal, outdated === "all"));
      } catch (error) {
        this.#outdated = "all";
        throw error;
      }
    }
    while (this.#needsOlder && candles.bars.length && !candles.complete) {
      await this.#read(() => candles.loadOlder(this.#signal, this.#olderUntil));
      if (candles.bars[0].time <= this.#olderUntil) break;
    }
    this.#needsOlder = false;
    this.#olderUntil = Infinity;
  }

  /** Read candles, and apply the events that arrived meanwhile again: they may be newer. @param {() => Promise<void>} load */
  async #read(load) {
    /** @type {any[]} */
    const events = [];
    this.#eventsSinceRequest = events;
    const first = !this.#candles.bars.length;
    await load();
    this.#signal.throwIfAborted();
    this.#eventsSinceRequest = null;
    for (const candle of events) this.#candles.apply(candle);
    this.#loaded = true;
    this.#onRead(first);
  }
}
