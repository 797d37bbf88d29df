/** Tape: the newest trades of the selected symbol. */

import { delayed, getJson } from "./api_client.js";
import { byId } from "./dom.js";
import { arrow, direction, priceText, shortTimestampText, volumeText } from "./formats.js";
import { now } from "./service_clock.js";
import { compareTrades } from "./trade_order.js";

const MAX_TRADES = 60;
const MONTH_MS = 30 * 86_400_000;
/** Delay of reading older trades in place of cancelled ones. */
const REFRESH_DELAY_MS = 500;

const tableBody = byId("tape");

/** @typedef {import("./trade_order.js").TradeEvent} TradeEvent */

export class Tape {
  #symbol = "";
  /** @type {TradeEvent[]} Newest first. */
  #trades = [];
  /** @type {TradeEvent[] | null} Events since the start of the last request, until its response. */
  #eventsSinceRequest = null;
  #renderQueued = false;

  /** @param {string} symbol */
  select(symbol) {
    this.#symbol = symbol;
    this.#trades = [];
    this.#render();
    this.refresh();
  }

  /** Read the newest trades, which replace the known ones. */
  async refresh() {
    const symbol = this.#symbol;
    if (!symbol) return;
    /** @type {TradeEvent[]} */
    const events = [];
    this.#eventsSinceRequest = events;
    try {
      const start = new Date(now() - MONTH_MS).toISOString();
      const end = new Date(now() + 3_600_000).toISOString();
      const { trades } = await getJson("/trades", { symbol, start, end, limit: MAX_TRADES });
      if (events !== this.#eventsSinceRequest) return; // there is a later request
      this.#trades = trades;
      this.#merge(events); // they may be newer than the response
    } catch {
      // The stream delivers new trades anyway.
    } finally {
      if (events === this.#eventsSinceRequest) this.#eventsSinceRequest = null;
    }
  }

  #refreshSoon = delayed(() => this.refresh(), REFRESH_DELAY_MS);

  /** @param {TradeEvent[]} events Of the selected symbol, in the order of the stream. */
  apply(events) {
    this.#eventsSinceRequest?.push(...events);
    const wasFull = this.#trades.length === MAX_TRADES;
    this.#merge(events);
    if (wasFull && this.#trades.length < MAX_TRADES) this.#refreshSoon(); // there may be an older one
  }

  /** @param {TradeEvent[]} events */
  #merge(events) {
    const key = (/** @type {TradeEvent} */ { timestamp, trade_id: id }) => `${timestamp} ${id}`;
    const trades = new Map(this.#trades.map((trade) => [key(trade), trade]));
    for (const event of events) {
      if (event.change === "cancelled") trades.delete(key(event));
      else trades.set(key(event), event);
    }
    this.#trades = [...trades.values()].sort((a, b) => compareTrades(b, a)).slice(0, MAX_TRADES);
    if (this.#renderQueued) return;
    this.#renderQueued = true;
    requestAnimationFrame(() => this.#render());
  }

  #render() {
    this.#renderQueued = false;
    tableBody.replaceChildren(...this.#trades.map((trade, index) => this.#createRow(trade, this.#trades[index + 1])));
  }

  /** @param {TradeEvent} trade @param {TradeEvent | undefined} previous */
  #createRow(trade, previous) {
    const difference = previous ? trade.price - previous.price : 0;
    const row = document.createElement("tr");
    row.dataset.direction = direction(difference);
    const price = `${difference ? arrow(difference) : ""} ${priceText(this.#symbol, trade.price)}`;
    for (const text of [shortTimestampText(Date.parse(trade.timestamp), now()), price, volumeText(trade.volume)]) {
      const cell = document.createElement("td");
      cell.textContent = text;
      row.append(cell);
    }
    return row;
  }
}
