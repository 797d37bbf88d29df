/** The newest trades of the symbol that is shown. */

import { now } from "./clock.js";
import { arrow, direction, momentText, priceText, volumeText } from "./formats.js";
import { ask } from "./service.js";

const LENGTH = 60;
const MONTH_MS = 30 * 86_400_000;

const place = /** @type {HTMLElement} */ (document.getElementById("tape"));

/** @typedef {import("./quote.js").Trade & {trade_id: number}} Trade */

export class Tape {
  #symbol = "";
  /** @type {Trade[]} Newest first. */
  #trades = [];
  #due = false;

  /** @param {string} symbol */
  async open(symbol) {
    this.#symbol = symbol;
    this.#trades = [];
    this.#show();
    await this.read();
  }

  /** Read them anew, beside what the stream has told. */
  async read() {
    const symbol = this.#symbol;
    if (!symbol) return;
    try {
      const start = new Date(now() - MONTH_MS).toISOString();
      const end = new Date(now() + 3_600_000).toISOString();
      const { trades } = await ask("/trades", { symbol, start, end, limit: LENGTH });
      if (symbol === this.#symbol) this.add(trades);
    } catch {
      // The stream tells the next ones.
    }
  }

  /** @param {Trade[]} trades Of the symbol, in any order. */
  add(trades) {
    const all = new Map([...this.#trades, ...trades].map((trade) => [identity(trade), trade]));
    this.#trades = [...all.values()].sort(byAge).slice(0, LENGTH);
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => this.#show());
  }

  #show() {
    this.#due = false;
    place.replaceChildren(...this.#trades.map((trade, index) => this.#row(trade, this.#trades[index + 1])));
  }

  /** @param {Trade} trade @param {Trade | undefined} before */
  #row(trade, before) {
    const difference = before ? trade.price - before.price : 0;
    const row = document.createElement("tr");
    row.dataset.direction = direction(difference);
    const price = `${difference ? arrow(difference) : ""} ${priceText(this.#symbol, trade.price)}`;
    for (const text of [momentText(Date.parse(trade.timestamp), now()), price, volumeText(trade.volume)]) {
      const cell = document.createElement("td");
      cell.textContent = text;
      row.append(cell);
    }
    return row;
  }
}

/** Newest first, as the service has it: by time, then by number. @param {Trade} one @param {Trade} other */
function byAge(one, other) {
  return Date.parse(other.timestamp) - Date.parse(one.timestamp) || other.trade_id - one.trade_id;
}

/** @param {Trade} trade */
function identity(trade) {
  return `${trade.timestamp} ${trade.trade_id}`;
}
