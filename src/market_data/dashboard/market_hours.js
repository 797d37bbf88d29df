/** State of the markets on which symbols are traded, by the calendars of the symbols. */

import { getJson } from "./api_client.js";
import { now } from "./service_clock.js";
import { ALWAYS_OPEN } from "./trading_hours.js";

/** Time until a state is read again that could not be read, or whose end is not known. */
const RETRY_MS = 60_000;

/**
 * @typedef {"open" | "pre" | "post" | "break" | "closed"} Status
 * @typedef {object} Hours
 * @property {Status} status
 * @property {number} openedAt Last opening that this page has seen, in milliseconds; 0 before.
 * @property {number | null} nextOpen In milliseconds; null if no session is known. @property {number | null} nextClose
 * @property {number} until Time at which the state must be read again.
 */

export class MarketHours {
  #onRead;
  /** @type {Map<string, string>} By symbol. */
  #calendars = new Map();
  /** @type {Map<string, Hours>} By calendar. */
  #hours = new Map();
  /** @type {Map<string, number>} Time of the last read, by calendar. */
  #readAt = new Map();

  /** @param {() => void} onRead Called when the state of a market is known. */
  constructor(onRead) {
    this.#onRead = onRead;
  }

  /** @param {{symbol: string, calendar?: string}[]} listings */
  set listings(listings) {
    this.#calendars = new Map(listings.map(({ symbol, calendar }) => [symbol, calendar ?? ALWAYS_OPEN]));
  }

  /** @param {string} symbol @returns {Hours | null} Null if it is always traded, or until the state is known. */
  of(symbol) {
    const calendar = this.#calendars.get(symbol) ?? ALWAYS_OPEN;
    if (calendar === ALWAYS_OPEN) return null;
    const hours = this.#hours.get(calendar) ?? null;
    if (!hours || now() >= hours.until) this.#read(calendar, symbol);
    return hours;
  }

  /** @param {string} calendar @param {string} symbol One that has it. */
  async #read(calendar, symbol) {
    if (now() - (this.#readAt.get(calendar) ?? -RETRY_MS) < RETRY_MS) return;
    this.#readAt.set(calendar, now());
    const before = this.#hours.get(calendar);
    try {
      const { status, next_open, next_close } = await getJson(`/market/status?symbol=${encodeURIComponent(symbol)}`);
      const isOpen = status === "open";
      const opened = isOpen && before && before.status !== "open";
      const [nextOpen, nextClose] = [next_open, next_close].map((time) => (time ? Date.parse(time) : null));
      const end = Math.min(nextOpen ?? Infinity, nextClose ?? Infinity);
      // The service does not say when the pre-market begins, nor when the post-market ends.
      const hasKnownEnd = (isOpen || status === "break") && Number.isFinite(end);
      this.#hours.set(calendar, {
        status,
        openedAt: opened ? (before.nextOpen ?? before.until) : (before?.openedAt ?? 0),
        nextOpen,
        nextClose,
        until: hasKnownEnd ? end : Math.min(end, now() + RETRY_MS),
      });
      this.#readAt.delete(calendar);
      this.#onRead();
    } catch {
      // Keep what is known; it is read again later.
    }
  }
}
