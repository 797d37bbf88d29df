/**
 * Prices of the last 24 hours. The change is relative to the open of the oldest 15-minute candle that began within the last
 * 24 hours.
 */

import { getJson } from "./api_client.js";
import { now } from "./service_clock.js";

const DAY_MS = 86_400_000;
/** Browsers open six HTTP/1.1 connections to a host. The stream holds one of them, and the other panels need some. */
const MAX_CONCURRENT = 2;
/** Age at which a known open is read again, because the 24-hour window moves. */
const REFRESH_MS = 300_000;
/** The same for a symbol without candles, because the first one may appear soon, and after an error. */
const RETRY_MS = 15_000;

/** @typedef {{open: number, high: number, low: number, volume: number}} DaySummary */

/** @returns {{interval: string, start: string, end: string}} Parameters of /candles. */
function last24Hours() {
  const start = new Date(now() - DAY_MS).toISOString();
  return { interval: "15m", start, end: new Date(now() + 3_600_000).toISOString() };
}

/** @param {string} symbol @returns {Promise<DaySummary | null>} Null if the symbol was not traded. */
export async function readDaySummary(symbol) {
  const { candles } = await getJson("/candles", { symbol, ...last24Hours() });
  if (!candles.length) return null;
  return {
    open: candles[0].open,
    high: Math.max(...candles.map((/** @type {any} */ candle) => candle.high)),
    low: Math.min(...candles.map((/** @type {any} */ candle) => candle.low)),
    volume: candles.reduce((/** @type {number} */ sum, /** @type {any} */ candle) => sum + candle.volume, 0),
  };
}

/** Opens of many symbols, read on demand with limited concurrency. */
export class DayChanges {
  /** @type {Map<string, {open: number | null, readAt: number}>} */
  #opens = new Map();
  /** @type {string[]} */
  #queue = [];
  #inFlight = new Set();
  #onChange;

  /** @param {() => void} onChange Called after each new open. */
  constructor(onChange) {
    this.#onChange = onChange;
  }

  /** @param {string} symbol @param {number} price @returns {number | null} Change as a ratio; null until known. */
  changeOf(symbol, price) {
    const open = this.#opens.get(symbol)?.open;
    return open ? price / open - 1 : null;
  }

  /** Read missing and outdated opens. Replaces the queue of the previous call. @param {string[]} symbols */
  request(symbols) {
    this.#queue = symbols.filter((symbol) => !this.#inFlight.has(symbol) && this.#isDue(symbol));
    while (this.#inFlight.size < MAX_CONCURRENT && this.#queue.length) this.#readNext();
  }

  /** @param {string} symbol @param {number | null} open */
  setOpen(symbol, open) {
    this.#opens.set(symbol, { open, readAt: now() });
    this.#onChange();
  }

  /** @param {string} symbol */
  #isDue(symbol) {
    const known = this.#opens.get(symbol);
    return !known || now() - known.readAt > (known.open === null ? RETRY_MS : REFRESH_MS);
  }

  async #readNext() {
    const symbol = this.#queue.shift();
    if (!symbol) return;
    this.#inFlight.add(symbol);
    try {
      const { candles } = await getJson("/candles", { symbol, ...last24Hours(), limit: 1 });
      this.setOpen(symbol, candles[0]?.open ?? null);
    } catch {
      // Retry after RETRY_MS, not immediately: the service may be overloaded.
      const open = this.#opens.get(symbol)?.open ?? null;
      this.#opens.set(symbol, { open, readAt: now() - (open === null ? 0 : REFRESH_MS - RETRY_MS) });
    } finally {
      this.#inFlight.delete(symbol);
      this.#readNext();
    }
  }
}
