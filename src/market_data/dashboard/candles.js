/** Loaded candles of one symbol and interval: pages of /candles, updated by candle events of the stream. */

import { getJson } from "./api_client.js";
import { now } from "./service_clock.js";
import { ALWAYS_OPEN, TradingHours } from "./trading_hours.js";

const FIRST_PAGE_SIZE = 600;
const OLDER_PAGE_SIZE = 1000;
/** Limit of the service. */
const MAX_PAGE_SIZE = 10_000;
const SECONDS_PER_DAY = 86_400;
const SECONDS_PER_HOUR = 3600;
/** Sessions are read until so long after the newest candle. */
const HOURS_AHEAD = 7 * SECONDS_PER_DAY;
/** The first page is likely to cover so many times the length of its candles: markets are closed for most of the week. */
const CLOSED_RATIO = 3;
/** Texts of the choices in which candles differ from those of all trades. @type {Record<string, string>} */
const SESSION_TEXTS = { extended: ", extended hours", regular: ", regular hours", all: "" };
/** @type {Record<string, string>} */
const ADJUSTMENT_TEXTS = {
  raw: "",
  split: ", adjusted for splits",
  dividend: ", adjusted for dividends",
  all: ", adjusted for all actions",
};
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

  /**
   * @param {string} symbol
   * @param {import("./intervals.js").Interval} interval
   * @param {import("./chart_choices.js").Trading} trading
   */
  constructor(symbol, interval, trading) {
    this.symbol = symbol;
    this.interval = interval;
    this.trading = trading;
    const needsHours = trading.calendar !== ALWAYS_OPEN && interval.seconds < SECONDS_PER_DAY;
    /** Sessions of at least the loaded candles; null if they don't matter. */
    this.hours = needsHours ? new TradingHours(trading.calendar) : null;
  }

  /** @param {string} symbol @returns {Candles} Those of another symbol that are made alike. */
  like(symbol) {
    return new Candles(symbol, this.interval, { ...this.trading, calendar: ALWAYS_OPEN });
  }

  /** @returns {boolean} True if the stream has events with these candles: of UTC buckets, with the prices of the trades. */
  get areStreamed() {
    return this.trading.session === "all" && this.trading.adjustment === "raw";
  }

  /** @returns {boolean} True if the buckets are those of UTC: sessions begin at half and full hours. */
  get areUtcBuckets() {
    return this.trading.session === "all" || this.interval.seconds < SECONDS_PER_HOUR;
  }

  /** @returns {string} 1 hour, extended hours */
  get title() {
    const { session, adjustment } = this.trading;
    return `${this.interval.title}${SESSION_TEXTS[session]}${ADJUSTMENT_TEXTS[adjustment]}`;
  }

  /**
   * Read the newest bars in place of those that are loaded.
   * @param {AbortSignal} signal
   * @param {boolean} all True to read as many as are loaded; otherwise the first page, which keeps older ones.
   */
  async loadNewest(signal, all) {
    const limit = all ? Math.max(FIRST_PAGE_SIZE, Math.min(this.bars.length, MAX_PAGE_SIZE)) : FIRST_PAGE_SIZE;
    const [page] = await Promise.all([
      this.#readPage({ start: EPOCH, end: this.#end(), limit, order: "desc" }, signal),
      this.#coverNewest(signal),
    ]);
    page.bars.reverse();
    await this.#cover(page.bars, signal);
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
    await this.#cover(page.bars.reverse(), signal);
    if (this.bars[0]?.time !== oldest) return; // loadNewest() replaced the bars during the request
    this.bars = page.bars.concat(this.bars);
    this.complete = !page.hasMore;
  }

  /**
   * Read the bars of a range again, of at most a page.
   * @param {number} from @param {number} until @param {AbortSignal} signal
   * @returns {Promise<{bar: Bar, change: Change}[]>} Those that have changed.
   */
  async loadChanged(from, until, signal) {
    const range = { start: isoTime(from), end: isoTime(until), limit: MAX_PAGE_SIZE, order: "asc" };
    const { bars } = await this.#readPage(range, signal);
    await this.#cover(bars, signal);
    signal.throwIfAborted();
    const loaded = this.bars.slice(this.indexAt(from), this.indexAt(until));
    const before = new Map(loaded.map((bar) => [bar.time, JSON.stringify(bar)]));
    const times = new Set(bars.map(({ time }) => time));
    return [
      ...loaded.filter(({ time }) => !times.has(time)).map((bar) => ({ bar, change: this.#remove(bar.time) })),
      ...bars
        .filter((bar) => before.get(bar.time) !== JSON.stringify(bar))
        .map((bar) => ({ bar, change: this.#set(bar) })),
    ];
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

  /** Read the sessions that the first page is likely to have, while it is read. @param {AbortSignal} signal */
  async #coverNewest(signal) {
    const newest = now() / 1000;
    const age = CLOSED_RATIO * FIRST_PAGE_SIZE * this.interval.seconds;
    await this.#readHours(newest - age, newest + HOURS_AHEAD, signal);
  }

  /** Read the sessions of bars. @param {Bar[]} bars @param {AbortSignal} signal */
  async #cover(bars, signal) {
    const last = bars.at(-1);
    if (last) await this.#readHours(bars[0].time, last.time, signal);
  }

  /** @param {number} from @param {number} until @param {AbortSignal} signal */
  async #readHours(from, until, signal) {
    try {
      await this.hours?.cover(from, until, signal);
    } catch {
      signal.throwIfAborted(); // otherwise, candles without shading are better than none; the next read tries it again
    }
  }

  /** @param {Record<string, string | number>} parameters @param {AbortSignal} signal */
  async #readPage(parameters, signal) {
    const { session, adjustment } = this.trading;
    const made = { ...(session !== "all" && { session }), ...(adjustment !== "raw" && { adjustment }) };
    const { candles, next_page_token: token } = await getJson(
      "/candles",
      { symbol: this.symbol, interval: this.interval.name, ...made, ...parameters },
      signal,
    );
    return { bars: /** @type {Bar[]} */ (candles.map(toBar)), hasMore: token !== null };
  }
}
