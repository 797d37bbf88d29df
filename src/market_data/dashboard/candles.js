/** Loaded candles of one symbol and interval: pages of /candles, updated by candle events of the stream. */

import { getJson } from "./api_client.js";
import { now } from "./service_clock.js";

const FIRST_PAGE_SIZE = 600;
const OLDER_PAGE_SIZE = 1000;
/** Limit of the service. */
const MAX_PAGE_SIZE = 10_000;
const EPOCH = "1970-01-01T00:00:00Z";

/**
 * @typedef {object} Bar Candle in the form of the chart library.
 * @property {number} time Start of the bucket, in seconds since 1970.
 * @property {number} open
 * @property {number} high
 * @property {number} low
 * @property {number} close
 * @property {number} volume
 * @property {number | null} vwap
 * @property {number} trades
 * @typedef {"last" | "earlier" | "moved" | "ignored"} Change Effect of a candle event: it updates or appends the last bar,
 *   updates an earlier one, adds or removes one so that others move, or changes nothing.
 */

/** @param {any} candle @returns {Bar} */
function toBar(candle) {
  const { timestamp, open, high, low, close, volume, vwap, trade_count: trades } = candle;
  return { time: Date.parse(timestamp) / 1000, open, high, low, close, volume, vwap, trades };
}

/** @param {number} seconds @returns {string} */
export function isoTime(seconds) {
  return new Date(seconds * 1000).toISOString();
}

export class Candles {
  /** @type {Bar[]} Oldest first. */
  bars = [];
  /** @type {Set<number>} Times of candles that were revised, some of which need not be loaded. */
  revised = new Set();
  /** True if the oldest candle of the service is loaded. */
  complete = false;

  /** @param {string} symbol @param {import("./intervals.js").Interval} interval */
  constructor(symbol, interval) {
    this.symbol = symbol;
    this.interval = interval;
  }

  /**
   * Read the newest bars in place of those that are loaded.
   * @param {AbortSignal} signal
   * @param {boolean} all True to read as many as are loaded; otherwise the first page, which keeps older ones.
   */
  async loadNewest(signal, all) {
    const limit = all ? Math.max(FIRST_PAGE_SIZE, Math.min(this.bars.length, MAX_PAGE_SIZE)) : FIRST_PAGE_SIZE;
    const page = await this.#readPage({ start: EPOCH, end: this.#end(), limit, order: "desc" }, signal);
    page.bars.reverse();
    const older = all || !page.hasMore ? 0 : this.indexAt(page.bars[0].time);
    const adjoin = older < this.bars.length; // else some between them are missing
    if (older && adjoin) this.bars.splice(older, Infinity, ...page.bars);
    else {
      this.bars = page.bars;
      this.complete = !page.hasMore;
    }
  }

  /** Load the page before the oldest bar. @param {AbortSignal} signal @param {number} [until] Time to reach, if possible. */
  async loadOlder(signal, until = Infinity) {
    const oldest = this.bars[0].time;
    const missing = Math.ceil((oldest - until) / this.interval.seconds);
    const limit = Math.max(OLDER_PAGE_SIZE, Math.min(MAX_PAGE_SIZE, missing));
    const parameters = { start: EPOCH, end: isoTime(oldest), limit, order: "desc" };
    const page = await this.#readPage(parameters, signal);
    if (this.bars[0]?.time !== oldest) return; // loadNewest() replaced the bars during the request
    this.bars = page.bars.reverse().concat(this.bars);
    this.complete = !page.hasMore;
  }

  /** Apply a candle event of the stream. @param {any} candle @returns {{bar: Bar, change: Change}} */
  apply(candle) {
    const bar = toBar(candle);
    return { bar, change: candle.removed ? this.#remove(bar.time) : this.#set(bar) };
  }

  /** @param {number} time @returns {number} Index of the first bar at or after a time. */
  indexAt(time) {
    let [low, high] = [0, this.bars.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.bars[middle].time < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** @param {Bar} bar @returns {Change} */
  #set(bar) {
    const { bars } = this;
    const index = this.indexAt(bar.time);
    if (bars[index]?.time === bar.time) {
      bars[index] = bar;
      return index === bars.length - 1 ? "last" : "earlier";
    }
    if (index === bars.length) {
      bars.push(bar);
      return "last";
    }
    if (index === 0 && !this.complete) return "ignored"; // loadOlder() will read it with its neighbours
    bars.splice(index, 0, bar);
    return "moved";
  }

  /** @param {number} time @returns {Change} */
  #remove(time) {
    const index = this.indexAt(time);
    if (this.bars[index]?.time !== time) return "ignored";
    this.bars.splice(index, 1);
    return "moved";
  }

  /** End of the next bucket: one more than the open one, because the clocks differ. */
  #end() {
    return isoTime((Math.floor(now() / 1000 / this.interval.seconds) + 2) * this.interval.seconds);
  }

  /** @param {Record<string, string | number>} parameters @param {AbortSignal} signal */
  async #readPage(parameters, signal) {
    const { candles, next_page_token: token } = await getJson(
      "/candles",
      { symbol: this.symbol, interval: this.interval.name, ...parameters },
      signal,
    );
    return { bars: /** @type {Bar[]} */ (candles.map(toBar)), hasMore: token !== null };
  }
}
