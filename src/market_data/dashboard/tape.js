/**
 * Tape: the newest trades of the selected symbol. It is held while the user pauses it or scrolls to older trades: new trades
 * are then counted only, and read when it continues. Corrections and cancellations are always shown.
 */

import { announce } from "./announcer.js";
import { getJson } from "./api_client.js";
import { byId, setText } from "./dom.js";
import { countText } from "./formats.js";
import { delayed, Reader } from "./retry.js";
import { now } from "./service_clock.js";
import { TapeRows, tradeKey } from "./tape_rows.js";
import { compareTrades } from "./trade_order.js";

const MIN_TRADES = 60;
/** Limit of the older trades that scrolling loads. */
const MAX_TRADES = 1000;
const PAGE_SIZE = 100;
const MONTH_MS = 30 * 86_400_000;
/** Delay of reading older trades in place of cancelled ones. */
const REFRESH_DELAY_MS = 500;
/** Distance from the end of the list at which older trades are loaded. */
const PREFETCH_PX = 300;

const scroller = byId("tape-scroller");
const pauseButton = byId("tape-pause");

/** @typedef {import("./trade_order.js").TradeEvent} TradeEvent */

export class Tape {
  #symbol = "";
  /** @type {TradeEvent[]} Newest first. */
  #trades = [];
  /** Number of trades to show: grows as the user scrolls. */
  #limit = MIN_TRADES;
  /** @type {TradeEvent[] | null} Events since the start of the last request, until its response. */
  #eventsSinceRequest = null;
  #renderQueued = false;
  #loadingOlder = false;
  #paused = false;
  /** True while newer trades than the first shown one are counted only. */
  #held = false;
  #newCount = 0;
  #rows = new TapeRows();
  /** Aborts the request when another symbol is selected. */
  #left = new AbortController();
  /** @type {Reader | null} */
  #reader = null;
  #onRead;

  /** @param {(trades: TradeEvent[]) => void} onRead Called with the trades that were read. */
  constructor(onRead) {
    this.#onRead = onRead;
    pauseButton.addEventListener("click", () => this.togglePause());
    scroller.addEventListener("scroll", () => this.#onScroll(), { passive: true });
  }

  /** @param {string} symbol */
  select(symbol) {
    this.#left.abort();
    this.#left = new AbortController();
    const { signal } = this.#left;
    this.#reader = new Reader(() => this.#read(signal), () => {}, signal);
    this.#symbol = symbol;
    this.#trades = [];
    this.#paused = this.#held = false;
    this.#newCount = 0;
    this.#limit = MIN_TRADES;
    scroller.scrollTop = 0;
    this.#render();
    this.refresh();
  }

  /** Pause the tape, or continue with the newest trades. */
  togglePause() {
    this.#paused = !this.#held;
    if (!this.#paused) scroller.scrollTop = 0;
    this.#updateHold();
    announce(this.#paused ? "Trades paused." : "Trades continue.");
  }

  #onScroll() {
    this.#updateHold();
    if (scroller.scrollTop + scroller.clientHeight > scroller.scrollHeight - PREFETCH_PX) this.#loadOlder();
  }

  #updateHold() {
    const held = this.#paused || scroller.scrollTop > 0;
    if (held === this.#held) return;
    this.#held = held;
    if (!held) {
      this.#limit = MIN_TRADES;
      if (this.#newCount) this.refresh();
      this.#newCount = 0;
      this.#merge([]);
    }
    this.#showPauseButton();
  }

  #showPauseButton() {
    const count = this.#newCount ? ` (${countText(this.#newCount)} new)` : "";
    setText(pauseButton, this.#held ? `Continue${count}` : "Pause");
  }

  /** Read the newest trades, or those up to the first shown one of a held tape; they replace the known ones. */
  refresh() {
    this.#reader?.request();
  }

  /** @param {AbortSignal} signal */
  async #read(signal) {
    /** @type {TradeEvent[]} */
    const events = [];
    this.#eventsSinceRequest = events;
    const newest = this.#held ? this.#trades[0] : undefined;
    const trades = await readTrades(this.#symbol, newest ?? null, this.#limit, signal);
    this.#eventsSinceRequest = null;
    this.#trades = newest ? trades.filter((trade) => compareTrades(trade, newest) <= 0) : trades;
    this.#onRead(trades);
    // They may be newer than the response.
    this.#merge(newest ? events.filter((event) => compareTrades(event, newest) <= 0) : events);
  }

  #refreshSoon = delayed(() => this.refresh(), REFRESH_DELAY_MS);

  async #loadOlder() {
    const [oldest, { signal }] = [this.#trades.at(-1), this.#left];
    if (this.#loadingOlder || !this.#held || !oldest || this.#trades.length < this.#limit) return;
    if (this.#limit + PAGE_SIZE > MAX_TRADES) return;
    this.#loadingOlder = true;
    try {
      const trades = await readTrades(this.#symbol, oldest, PAGE_SIZE, signal);
      if (signal.aborted || !this.#held) return;
      const older = trades.filter((trade) => compareTrades(trade, oldest) < 0);
      // One more than there are, once there are no older ones.
      this.#limit = this.#trades.length + Math.max(older.length, 1);
      this.#merge(older);
    } catch {
      // Scrolling on tries again.
    } finally {
      this.#loadingOlder = false;
    }
  }

  /** @param {TradeEvent[]} events In the order of the stream; those of other symbols are ignored. */
  apply(events) {
    const own = events.filter(({ symbol }) => symbol === this.#symbol);
    this.#eventsSinceRequest?.push(...own);
    const wasFull = this.#trades.length === this.#limit;
    this.#merge(own.filter((event) => !this.#isCountedOnly(event)));
    if (wasFull && this.#trades.length < this.#limit) this.#refreshSoon(); // there may be an older one
  }

  /** @param {TradeEvent} event @returns {boolean} True for the trades that a held tape does not show. */
  #isCountedOnly(event) {
    const newest = this.#trades[0];
    if (!this.#held || (newest && compareTrades(event, newest) <= 0)) return false;
    if (!event.change) this.#newCount++;
    this.#showPauseButton();
    return true;
  }

  /** @param {TradeEvent[]} events */
  #merge(events) {
    const trades = new Map(this.#trades.map((trade) => [tradeKey(trade), trade]));
    for (const event of events) {
      if (event.change === "cancelled") trades.delete(tradeKey(event));
      else trades.set(tradeKey(event), event);
    }
    this.#trades = [...trades.values()].sort((a, b) => compareTrades(b, a)).slice(0, this.#limit);
    if (this.#renderQueued) return;
    this.#renderQueued = true;
    requestAnimationFrame(() => this.#render());
  }

  #render() {
    this.#renderQueued = false;
    this.#rows.show(this.#trades);
    this.#showPauseButton();
  }
}

/**
 * Read trades, newest first.
 * @param {string} symbol
 * @param {TradeEvent | null} newest Includes this trade and any of its millisecond; null for the newest ones.
 * @param {number} limit
 * @param {AbortSignal} signal
 * @returns {Promise<TradeEvent[]>}
 */
async function readTrades(symbol, newest, limit, signal) {
  const end = newest ? Date.parse(newest.timestamp) + 1 : now() + 3_600_000;
  const range = { start: new Date(end - MONTH_MS).toISOString(), end: new Date(end).toISOString() };
  return (await getJson("/trades", { symbol, ...range, limit }, signal)).trades;
}
