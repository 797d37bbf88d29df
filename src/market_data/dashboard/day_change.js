/**
 * Prices of the last 24 hours. The change is relative to the open of the oldest 15-minute candle that began within the last
 * 24 hours.
 */

import { getJson } from "./api_client.js";
import { now } from "./service_clock.js";

export const DAY_MS = 86_400_000;
/** Browsers open six HTTP/1.1 connections to a host. The stream holds one of them, and the other panels need some. */
const MAX_CONCURRENT = 2;
/** Age at which a known open is read again, because the 24-hour window moves. */
const REFRESH_MS = 300_000;
/** The same for a symbol without candles or with one that is not settled, because it may change soon, and after an error. */
const RETRY_MS = 15_000;
/** Candles whose first one has the open. */
const INTERVAL = "15m";
const INTERVAL_MS = 900_000;

/**
 * @typedef {{timestamp: string, open: number, settled?: false}} OpenCandle
 * @typedef {{first: OpenCandle, high: number, low: number, volume: number}} DaySummary
 */

/** @returns {{interval: string, start: string, end: string}} Parameters of /candles. */
function last24Hours() {
  const start = new Date(now() - DAY_MS).toISOString();
  return { interval: INTERVAL, start, end: new Date(now() + 3_600_000).toISOString() };
}

/** @param {string} symbol @returns {Promise<DaySummary | null>} Null if the symbol was not traded. */
export async function readDaySummary(symbol) {
  const { candles } = await getJson("/candles", { symbol, ...last24Hours() });
  if (!candles.length) return null;
  return {
    first: candles[0],
    high: Math.max(...candles.map((/** @type {any} */ candle) => candle.high)),
    low: Math.min(...candles.map((/** @type {any} */ candle) => candle.low)),
    volume: candles.reduce((/** @type {number} */ sum, /** @type {any} */ candle) => sum + candle.volume, 0),
  };
}

/** Opens of many symbols, read on demand with limited concurrency. */
export class DayChanges {
  /** @type {Map<string, {candle: OpenCandle | null, readAt: number}>} */
  #opens = new Map();
  /** Symbols with a trade that may have changed the open since the last request. */
  #changed = new Set();
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
    const open = this.#opens.get(symbol)?.candle?.open;
    return open ? price / open - 1 : null;
  }

  /** Read missing and outdated opens. Replaces the queue of the previous call. @param {string[]} symbols */
  request(symbols) {
    this.#queue = symbols.filter((symbol) => !this.#inFlight.has(symbol) && this.#isDue(symbol));
    while (this.#inFlight.size < MAX_CONCURRENT && this.#queue.length) this.#readNext();
  }

  /** Read the open again if trades of a time may have changed it. @param {string} symbol @param {string} since */
  expire(symbol, since) {
    const candle = this.#opens.get(symbol)?.candle;
    if (!candle || Date.parse(since) < Date.parse(candle.timestamp) + INTERVAL_MS) this.#changed.add(symbol);
  }

  /** @param {string} symbol @param {OpenCandle | null} candle The first one of the last 24 hours. */
  setOpen(symbol, candle) {
    this.#opens.set(symbol, { candle, readAt: now() });
    this.#onChange();
  }

  /** @param {string} symbol */
  #isDue(symbol) {
    const known = this.#opens.get(symbol);
    if (!known || this.#changed.has(symbol)) return true;
    const isFinal = known.candle !== null && known.candle.settled !== false;
    return now() - known.readAt > (isFinal ? REFRESH_MS : RETRY_MS);
  }

  async #readNext() {
    const symbol = this.#queue.shift();
    if (!symbol) return;
    this.#inFlight.add(symbol);
    this.#changed.delete(symbol);
    try {
      const { candles } = await getJson("/candles", { symbol, ...last24Hours(), limit: 1 });
      this.setOpen(symbol, candles[0] ?? null);
    } catch {
      // Retry after RETRY_MS, not immediately: the service may be overloaded.
      const candle = this.#opens.get(symbol)?.candle ?? null;
      this.#opens.set(symbol, { candle, readAt: now() - (candle === null ? 0 : REFRESH_MS - RETRY_MS) });
    } finally {
      this.#inFlight.delete(symbol);
      this.#readNext();
    }
  }
}
