/** The candles of one symbol and interval, as far as they are loaded: pages from /candles, changes from the stream. */

import { now } from "./clock.js";
import { ask } from "./service.js";

const FIRST = 600;
const MORE = 1000;
const SINCE_EVER = "1970-01-01T00:00:00Z";

/**
 * @typedef {object} Bar
 * @property {number} time Start of the bucket, in seconds since 1970.
 * @property {number} open
 * @property {number} high
 * @property {number} low
 * @property {number} close
 * @property {number} volume
 * @property {number | null} vwap
 * @property {number} trades
 * @typedef {"end" | "inside" | "new inside" | "nowhere"} Place Where a candle has been put.
 */

/** @returns {Bar} */
function bar(/** @type {any} */ candle) {
  const { timestamp, open, high, low, close, volume, vwap, trade_count: trades } = candle;
  return { time: Date.parse(timestamp) / 1000, open, high, low, close, volume, vwap, trades };
}

/** @param {number} seconds */
function moment(seconds) {
  return new Date(seconds * 1000).toISOString();
}

export class Candles {
  /** @type {Bar[]} Oldest first. */
  bars = [];
  /** Whether there are none before the first one. */
  complete = false;

  /** @param {string} symbol @param {{name: string, words: string, seconds: number}} interval */
  constructor(symbol, interval) {
    this.symbol = symbol;
    this.interval = interval;
  }

  /** Read the newest ones, in place of what was there. @param {AbortSignal} signal */
  async loadNewest(signal) {
    const page = await this.#read({ start: SINCE_EVER, end: this.#end(), limit: FIRST, order: "desc" }, signal);
    this.bars = page.bars.reverse();
    this.complete = !page.more;
  }

  /** Read those before the first one. @param {AbortSignal} signal */
  async loadOlder(signal) {
    const oldest = this.bars[0].time;
    const page = await this.#read({ start: SINCE_EVER, end: moment(oldest), limit: MORE, order: "desc" }, signal);
    if (this.bars[0]?.time !== oldest) return; // read anew meanwhile
    this.bars = page.bars.reverse().concat(this.bars);
    this.complete = !page.more;
  }

  /**
   * Read what has become of the last one, and those after it.
   * @param {AbortSignal} signal
   * @returns {Promise<boolean>} False where there are so many that they had better be read from the start.
   */
  async loadSince(signal) {
    const from = this.bars.at(-2) ?? this.bars.at(-1);
    const start = from ? moment(from.time) : SINCE_EVER;
    const page = await this.#read({ start, end: this.#end(), limit: FIRST, order: "asc" }, signal);
    if (page.more) return false;
    for (const each of page.bars) this.#place(each, false);
    return true;
  }

  /**
   * Take in what the stream tells.
   * @returns {{bar: Bar, place: Place}}
   */
  put(/** @type {any} */ candle) {
    const told = bar(candle);
    return { bar: told, place: this.#place(told, candle.revised) };
  }

  /** @param {number} time @returns {number} Where the bar of a time is, or would be. */
  index(time) {
    let [low, high] = [0, this.bars.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.bars[middle].time < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /**
   * @param {Bar} told
   * @param {boolean} certain Whether it is newer than what is there even with fewer trades.
   * @returns {Place}
   */
  #place(told, certain) {
    const { bars } = this;
    const index = this.index(told.time);
    const known = bars[index];
    if (known?.time === told.time) {
      // Answers and the stream may overtake each other: of two states of a candle, the one with more trades is later.
      if (!certain && told.trades < known.trades) return "nowhere";
      bars[index] = told;
      return index === bars.length - 1 ? "end" : "inside";
    }
    if (index === bars.length) {
      bars.push(told);
      return "end";
    }
    if (index === 0 && !this.complete) return "nowhere"; // it comes with its page
    bars.splice(index, 0, told);
    return "new inside";
  }

  /** After the bucket that is open now, and the next one: clocks differ. */
  #end() {
    return moment((Math.floor(now() / 1000 / this.interval.seconds) + 2) * this.interval.seconds);
  }

  /** @param {Record<string, string | number>} parameters @param {AbortSignal} signal */
  async #read(parameters, signal) {
    const { candles, next_page_token: token } = await ask(
      "/candles",
      { symbol: this.symbol, interval: this.interval.name, ...parameters },
      signal,
    );
    return { bars: /** @type {Bar[]} */ (candles.map(bar)), more: token !== null };
  }
}
