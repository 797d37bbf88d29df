/**
 * Snapshots of the shown symbols: last trade, and change, high, low and volume of the last 24 hours. One request at a time reads
 * all symbols that are due.
 */

import { getJson } from "./api_client.js";
import { delayed, reconnectionCount, waitToRetry } from "./retry.js";
import { elapsed, now } from "./service_clock.js";

const DAY_MS = 86_400_000;
/** Age at which a snapshot is read again: the 24-hour window moves, and trades add to the volume. */
const REFRESH_MS = 30_000;
/** The same for a symbol without a trade or with figures that are not settled, because they may change soon. */
const UNSETTLED_MS = 15_000;
/** Delay of reading snapshots again after changes, which often come in bursts. */
const CHANGED_MS = 200;
/** Bounds the length of the URL. */
const MAX_SYMBOLS = 250;
/** Length of the candles from which the service computes the figures. */
const BUCKET_MS = 900_000;

/**
 * @typedef {import("./trade_order.js").Trade} Trade
 * @typedef {import("./trade_order.js").TradeEvent} TradeEvent
 * @typedef {{open: number | null, high: number | null, low: number | null, volume: number, settled?: false}} Figures
 * @typedef {{trade_count: number, timestamp: string} | null} Day Candle of a UTC day.
 * @typedef {{symbol: string, latest: Trade, day: Day, previous_day: Day, price_24h_ago: number | null, last_24h: Figures}} Snapshot
 */

export class Snapshots {
  /** @type {Map<string, {snapshot: Snapshot | null, readAt: number}>} Null for a symbol without a trade. */
  #known = new Map();
  /** Symbols whose snapshot may have changed since the last request. */
  #changed = new Set();
  /** @type {string[]} */
  #wanted = [];
  /** @type {string[]} */
  #nearby = [];
  /** @type {Promise<void> | null} */
  #reading = null;
  #failures = 0;
  /** @type {TradeEvent[]} Since the start of the last request. */
  #events = [];
  #callbacks;

  /**
   * @param {object} callbacks
   * @param {(symbols: string[], snapshots: Snapshot[], events: TradeEvent[]) => void} callbacks.onRead Called with the symbols
   *   that were read, the snapshots of those with a trade, and the events since the request, which may be newer.
   * @param {(error: Error) => void} callbacks.onError
   */
  constructor(callbacks) {
    this.#callbacks = callbacks;
  }

  /**
   * Read missing, changed and outdated snapshots. Replaces the symbols of the previous call.
   * @param {string[]} symbols
   * @param {string[]} nearby Symbols that are read with a missing one: scrolling will soon show them.
   */
  request(symbols, nearby) {
    this.#wanted = symbols;
    this.#nearby = nearby;
    if (symbols.some((symbol) => !this.#known.has(symbol))) this.#readDue();
    else if (this.#due.length) this.#readSoon();
  }

  /** Resolves at the end of the request that is under way. */
  async idle() {
    await this.#reading;
  }

  /** Read snapshots of a symbol again, or of all, when they are requested next. @param {string} [symbol] */
  expire(symbol) {
    for (const each of symbol ? [symbol] : this.#known.keys()) this.#changed.add(each);
  }

  /** Follow a stored trade or the change of one. @param {TradeEvent} event */
  apply(event) {
    if (this.#reading) this.#events.push(event);
    const { symbol, change, timestamp, price } = event;
    const age = now() - Date.parse(timestamp);
    const figures = this.#known.get(symbol)?.snapshot?.last_24h;
    if (change || !figures || age > DAY_MS - BUCKET_MS) this.#changed.add(symbol);
    if (change || !figures || age > DAY_MS) return;
    figures.open ??= price;
    figures.high = Math.max(figures.high ?? price, price);
    figures.low = Math.min(figures.low ?? price, price);
  }

  /** @param {string} symbol @returns {Figures | undefined} Undefined until known. The volume is that of the last request. */
  figures(symbol) {
    return this.#known.get(symbol)?.snapshot?.last_24h;
  }

  /**
   * Price that the 24-hour change is relative to: that of 24 hours ago, or the first one of a symbol that is younger.
   * @param {string} symbol
   * @returns {number | null} Null until known.
   */
  reference(symbol) {
    const snapshot = this.#known.get(symbol)?.snapshot;
    return snapshot?.price_24h_ago ?? snapshot?.last_24h.open ?? null;
  }

  /** @param {string} symbol @returns {boolean} True if there is a price of 24 hours ago. */
  coversDay(symbol) {
    return typeof this.#known.get(symbol)?.snapshot?.price_24h_ago === "number";
  }

  get #due() {
    return this.#wanted.filter((symbol) => {
      const known = this.#known.get(symbol);
      if (!known || this.#changed.has(symbol)) return true;
      const isFinal = known.snapshot && known.snapshot.last_24h.settled !== false;
      return elapsed() - known.readAt > (isFinal ? REFRESH_MS : UNSETTLED_MS);
    });
  }

  #readSoon = delayed(() => this.#readDue(), CHANGED_MS);

  #readDue() {
    const isMissing = (/** @type {string} */ symbol) => !this.#known.has(symbol);
    const due = this.#wanted.some(isMissing)
      ? [...new Set([...this.#due, ...this.#nearby.filter(isMissing)])]
      : this.#due;
    if (this.#reading || !due.length) return;
    this.#reading = this.#read(due.slice(0, MAX_SYMBOLS));
    this.#reading.then(async () => {
      if (this.#failures) await waitToRetry(this.#failures);
      this.#reading = null;
      this.#readDue(); // other symbols became visible meanwhile
    });
  }

  /** @param {string[]} symbols */
  async #read(symbols) {
    this.#events = [];
    const begun = reconnectionCount();
    for (const symbol of symbols) this.#changed.delete(symbol);
    try {
      const { snapshots } = await getJson("/snapshots", { symbols: symbols.join() });
      this.#failures = 0;
      const bySymbol = new Map(snapshots.map((/** @type {Snapshot} */ each) => [each.symbol, each]));
      for (const symbol of symbols) this.#known.set(symbol, { snapshot: bySymbol.get(symbol) ?? null, readAt: elapsed() });
      const events = this.#events.splice(0);
      for (const event of events) this.apply(event);
      this.#callbacks.onRead(symbols, snapshots, events);
    } catch (error) {
      this.#failures = begun === reconnectionCount() ? this.#failures + 1 : 1;
      for (const symbol of symbols) this.#changed.add(symbol);
      this.#callbacks.onError(/** @type {Error} */ (error));
    }
  }
}
