/** What symbols cost 24 hours ago: the open of the oldest 15-minute candle that began within the last day. */

import { now } from "./clock.js";
import { ask } from "./service.js";

const DAY_MS = 86_400_000;
/** A browser has six connections to a host, one of which is the stream: the rest of the page wants some as well. */
const AT_ONCE = 2;
/** After this it is asked for again: the day moves on. */
const GOOD_MS = 300_000;
/** The same where there was no candle: the first one may come any time. */
const GOOD_NOTHING_MS = 15_000;

/** @returns {{interval: string, start: string, end: string}} The last day, as parameters of /candles. */
function lastDay() {
  const start = new Date(now() - DAY_MS).toISOString();
  return { interval: "15m", start, end: new Date(now() + 3_600_000).toISOString() };
}

/** @typedef {{open: number, high: number, low: number, volume: number}} Day */

/** @param {string} symbol @returns {Promise<Day | null>} What its last day was like; null where nothing was traded. */
export async function readDay(symbol) {
  const { candles } = await ask("/candles", { symbol, ...lastDay() });
  if (!candles.length) return null;
  return {
    open: candles[0].open,
    high: Math.max(...candles.map((/** @type {any} */ each) => each.high)),
    low: Math.min(...candles.map((/** @type {any} */ each) => each.low)),
    volume: candles.reduce((/** @type {number} */ sum, /** @type {any} */ each) => sum + each.volume, 0),
  };
}

export class Changes {
  /** @type {Map<string, {open: number | null, at: number}>} */
  #known = new Map();
  /** @type {string[]} */
  #queue = [];
  #asking = new Set();
  #found;

  /** @param {() => void} found Called when there is one more. */
  constructor(found) {
    this.#found = found;
  }

  /**
   * @param {string} symbol
   * @param {number} price
   * @returns {number | null} The change as a share; null where it is not known.
   */
  of(symbol, price) {
    const open = this.#known.get(symbol)?.open;
    return open ? price / open - 1 : null;
  }

  /** @param {string[]} symbols Those that are in view: others are not asked for. */
  want(symbols) {
    this.#queue = symbols.filter((symbol) => !this.#asking.has(symbol) && this.#isDue(symbol));
    while (this.#asking.size < AT_ONCE && this.#queue.length) this.#ask(/** @type {string} */ (this.#queue.shift()));
  }

  /** @param {string} symbol */
  #isDue(symbol) {
    const known = this.#known.get(symbol);
    return !known || now() - known.at > (known.open === null ? GOOD_NOTHING_MS : GOOD_MS);
  }

  /** @param {string} symbol @param {number | null} open */
  learn(symbol, open) {
    this.#known.set(symbol, { open, at: now() });
    this.#found();
  }

  /** @param {string} symbol */
  async #ask(symbol) {
    this.#asking.add(symbol);
    try {
      const { candles } = await ask("/candles", { symbol, ...lastDay(), limit: 1 });
      this.learn(symbol, candles[0]?.open ?? null);
    } catch {
      // Not at once: the service has trouble already.
      const open = this.#known.get(symbol)?.open ?? null;
      this.#known.set(symbol, { open, at: now() - (open === null ? 0 : GOOD_MS - GOOD_NOTHING_MS) });
    } finally {
      this.#asking.delete(symbol);
      const next = this.#queue.shift();
      if (next) this.#ask(next);
    }
  }
}
