/** Reads the candles of one symbol and interval, and applies stream events to them. */

import { delayed, Reader } from "./retry.js";

/** Candles that the stream does not have are read again so long after an event that concerns them. */
const CHANGE_MS = 1000;
/** The closing auction lasts at most so long, in seconds. Its trades belong to the bucket before. */
const MAX_AUCTION = 1800;
/** With changes that are further apart, all loaded candles are read. */
const MAX_CHANGED = 2000;

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
  /** @type {{from: number, until: number} | null} Times of changed candles that the stream does not have. */
  #changed = null;
  #onApplied;
  #reader;
  #readSoon = delayed(() => this.#reader.request(), CHANGE_MS);

  /**
   * @param {import("./candles.js").Candles} candles
   * @param {AbortSignal} signal Ends everything.
   * @param {object} callbacks
   * @param {(first: boolean) => void} callbacks.onRead True if there was no candle before.
   * @param {(applied: {bar: Bar, change: Change}) => void} callbacks.onApplied A candle was read again, and has changed.
   * @param {(error: Error) => Promise<unknown> | void} callbacks.onError Its promise ends the delay of the repetition early.
   */
  constructor(candles, signal, { onRead, onApplied, onError }) {
    this.#candles = candles;
    this.#signal = signal;
    this.#onRead = onRead;
    this.#onApplied = onApplied;
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

  /** @param {any} candle Event of the stream. @returns {boolean} False if it is of another symbol or interval. */
  concerns(candle) {
    return candle.symbol === this.#candles.symbol && candle.interval === this.#candles.interval.name;
  }

  /**
   * Apply a candle event of the stream; those of other symbols and intervals are ignored.
   * @param {any} candle
   * @returns {{bar: Bar, change: Change} | null} Null if nothing has changed, or if the candle must be read.
   */
  apply(candle) {
    if (!this.concerns(candle)) return null;
    if (!this.#candles.areStreamed) return this.#noteChange(Date.parse(candle.timestamp) / 1000);
    this.#eventsSinceRequest?.push(candle);
    if (!this.#loaded) return null;
    const applied = this.#candles.apply(candle);
    if (applied.change === "ignored") return null;
    if (!this.#candles.bars.length) this.reload(); // there may be older ones
    return applied;
  }

  /** Read the candles again that overlap a bucket of UTC. @param {number} time Its start. */
  #noteChange(time) {
    const length = this.#candles.interval.seconds;
    const { from, until } = this.#changed ?? { from: Infinity, until: -Infinity };
    this.#changed = { from: Math.min(from, time - length - MAX_AUCTION), until: Math.max(until, time + 2 * length) };
    this.#readSoon();
    return null;
  }

  async #readNeeded() {
    const candles = this.#candles;
    if (this.#changed && this.#changed.until - this.#changed.from > MAX_CHANGED * candles.interval.seconds)
      this.#outdated = "all";
    const outdated = this.#outdated;
    if (outdated !== "nothing") {
      this.#outdated = "nothing";
      if (outdated === "all") this.#changed = null;
      try {
        await this.#read(() => candles.loadNewest(this.#signal, outdated === "all"));
      } catch (error) {
        this.#outdated = "all";
        throw error;
      }
    }
    if (this.#changed) await this.#readChanged(this.#changed);
    while (this.#needsOlder && candles.bars.length && !candles.complete) {
      await this.#read(() => candles.loadOlder(this.#signal, this.#olderUntil));
      if (candles.bars[0].time <= this.#olderUntil) break;
    }
    this.#needsOlder = false;
    this.#olderUntil = Infinity;
  }

  /** @param {{from: number, until: number}} range */
  async #readChanged({ from, until }) {
    this.#changed = null;
    const first = !this.#candles.bars.length;
    try {
      const applied = await this.#candles.loadChanged(from, until, this.#signal);
      if (first && applied.length) return this.#onRead(true);
      for (const each of applied) if (each.change !== "ignored") this.#onApplied(each);
    } catch (error) {
      this.#outdated = "all";
      throw error;
    }
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
