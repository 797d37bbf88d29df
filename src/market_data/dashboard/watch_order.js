/** Order of the watch list: its own, or by symbol, last price or change. */

import { announce } from "./announcer.js";
import { byId } from "./dom.js";
import { readStored, store } from "./storage.js";

const SETTING = "watch-list-order";
/** Sorting by price needs the prices of all symbols, not only of the visible ones. */
const MAX_SORTED_BY_PRICE = 1000;
/** Rows that are sorted by price change their places at most this often. */
const SORT_MS = 5_000;

const COLUMNS = /** @type {const} */ (["symbol", "last", "change"]);

/**
 * @typedef {typeof COLUMNS[number]} Column
 * @typedef {{symbol: string}} Listing
 */

export class WatchOrder {
  /** @type {{column: Column, descending: boolean} | null} Null for the list's own order. */
  #order = null;
  /** @type {Map<Column, HTMLButtonElement>} */
  #buttons = new Map();
  #sortedAt = 0;
  #onChange;

  /** @param {() => void} onChange */
  constructor(onChange) {
    this.#onChange = onChange;
    const stored = /** @type {any} */ (readStored(SETTING));
    if (COLUMNS.includes(stored?.column)) this.#order = { column: stored.column, descending: stored.descending === true };
    for (const column of COLUMNS) {
      const button = /** @type {HTMLButtonElement} */ (byId(`sort-${column}`));
      this.#buttons.set(column, button);
      button.addEventListener("click", () => this.#toggle(column));
    }
    this.#show();
  }

  /** @param {unknown[]} listings @returns {boolean} True if their order depends on all their prices. */
  needsPrices({ length }) {
    return this.#order !== null && this.#order.column !== "symbol" && length <= MAX_SORTED_BY_PRICE;
  }

  /** @param {unknown[]} listings @returns {boolean} True if prices may have changed their order. */
  isDue(listings) {
    return this.needsPrices(listings) && performance.now() - this.#sortedAt > SORT_MS;
  }

  /** Highest price, largest change or first symbol on top; then the reverse; then the list's own order. @param {Column} column */
  #toggle(column) {
    const first = column !== "symbol";
    if (this.#order?.column !== column) this.#order = { column, descending: first };
    else if (this.#order.descending === first) this.#order.descending = !first;
    else this.#order = null;
    store(SETTING, this.#order ?? undefined);
    this.#show();
    const name = this.#buttons.get(column)?.textContent?.trim();
    announce(this.#order ? `Sorted by ${name}, ${this.#order.descending ? "descending" : "ascending"}.` : "Not sorted.");
    this.#onChange();
  }

  #show() {
    for (const [column, button] of this.#buttons) {
      const header = /** @type {HTMLElement} */ (button.parentElement);
      if (this.#order?.column === column)
        header.setAttribute("aria-sort", this.#order.descending ? "descending" : "ascending");
      else header.removeAttribute("aria-sort");
    }
  }

  /**
   * @template {Listing} T
   * @param {T[]} listings In the list's own order.
   * @param {Record<"last" | "change", (symbol: string) => number | undefined>} values Undefined until known.
   * @returns {T[]} Symbols without a value come last.
   */
  sort(listings, values) {
    this.#sortedAt = performance.now();
    if (!this.#order) return listings;
    const { column, descending } = this.#order;
    const sign = descending ? -1 : 1;
    if (column === "symbol") return [...listings].sort((a, b) => sign * (a.symbol < b.symbol ? -1 : 1));
    if (!this.needsPrices(listings)) return listings;
    const known = new Map(listings.map((listing) => [listing, values[column](listing.symbol)]));
    return [...listings].sort((a, b) => {
      const [first, second] = [known.get(a), known.get(b)];
      if (first === undefined || second === undefined) return Number(first === undefined) - Number(second === undefined);
      return sign * (first - second);
    });
  }
}
