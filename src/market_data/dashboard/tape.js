/** Tape: the newest trades of the selected symbol. */

import { getJson } from "./api_client.js";
import { byId } from "./dom.js";
import { arrow, direction, priceText, shortTimestampText, volumeText } from "./formats.js";
import { now } from "./service_clock.js";

const MAX_TRADES = 60;
const MONTH_MS = 30 * 86_400_000;

const tableBody = byId("tape");

/** @typedef {import("./quote.js").Trade & {trade_id: number}} Trade */

export class Tape {
  #symbol = "";
  /** @type {Trade[]} Newest first. */
  #trades = [];
  #renderQueued = false;

  /** @param {string} symbol */
  select(symbol) {
    this.#symbol = symbol;
    this.#trades = [];
    this.#render();
    this.refresh();
  }

  /** Read the newest trades and merge them with those of the stream. */
  async refresh() {
    const symbol = this.#symbol;
    if (!symbol) return;
    try {
      const start = new Date(now() - MONTH_MS).toISOString();
      const end = new Date(now() + 3_600_000).toISOString();
      const { trades } = await getJson("/trades", { symbol, start, end, limit: MAX_TRADES });
      if (symbol === this.#symbol) this.addTrades(trades);
    } catch {
      // The stream delivers new trades anyway.
    }
  }

  /** @param {Trade[]} trades Of the selected symbol, in any order. */
  addTrades(trades) {
    const unique = new Map([...this.#trades, ...trades].map((trade) => [`${trade.timestamp} ${trade.trade_id}`, trade]));
    this.#trades = [...unique.values()].sort(newestFirst).slice(0, MAX_TRADES);
    if (this.#renderQueued) return;
    this.#renderQueued = true;
    requestAnimationFrame(() => this.#render());
  }

  #render() {
    this.#renderQueued = false;
    tableBody.replaceChildren(...this.#trades.map((trade, index) => this.#createRow(trade, this.#trades[index + 1])));
  }

  /** @param {Trade} trade @param {Trade | undefined} previous */
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

/** Sort as /trades does: by time, then by id, because trades may share a timestamp. @param {Trade} a @param {Trade} b */
function newestFirst(a, b) {
  return Date.parse(b.timestamp) - Date.parse(a.timestamp) || b.trade_id - a.trade_id;
}
