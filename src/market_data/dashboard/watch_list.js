/**
 * Watch list: all symbols with last price and 24-hour change. Only the visible rows are in the document, because there may
 * be thousands of symbols.
 *
 * The grid keeps the focus and names its active row (aria-activedescendant), because the active row may leave the document.
 */

import { DayChanges } from "./day_change.js";
import { byId, flash, setText } from "./dom.js";
import { arrow, countText, direction, percentText, priceText, updateDecimals } from "./formats.js";
import { compareTrades } from "./trade_order.js";

/** Rows rendered above and below the visible ones, so that scrolling shows no gap. */
const OVERSCAN_ROWS = 4;
const HEADER_ROWS = 1;

/**
 * @typedef {import("./trade_order.js").Trade} Trade
 * @typedef {import("./trade_order.js").TradeEvent} TradeEvent
 * @typedef {{symbol: string, name: string}} Listing
 */

const grid = byId("watch-list");
const rows = byId("rows");
const search = /** @type {HTMLInputElement} */ (byId("search"));
const note = byId("watch-list-note");

export class WatchList {
  /** @type {Listing[]} */
  #listings = [];
  /** @type {Map<string, Listing>} */
  #listingsBySymbol = new Map();
  /** @type {Listing[]} Listings that match the search. */
  #matches = [];
  /** @type {Map<string, Trade>} Last trade by symbol. */
  #lastTrades = new Map();
  /** @type {Map<string, HTMLElement>} Rendered rows by symbol. */
  #rows = new Map();
  /** @type {Map<string, number>} Price moves since the last rendering. */
  #priceMoves = new Map();
  #selected = "";
  #renderQueued = false;
  #callbacks;
  dayChanges = new DayChanges(() => this.queueRender());

  /**
   * @param {object} callbacks
   * @param {(symbol: string) => void} callbacks.onSelect
   * @param {() => void} callbacks.onVisibleChange Called when other symbols become visible.
   * @param {(time: number | undefined) => boolean} callbacks.isStale
   */
  constructor(callbacks) {
    this.#callbacks = callbacks;
    rows.addEventListener("scroll", () => this.queueRender(), { passive: true });
    new ResizeObserver(() => this.queueRender()).observe(rows);
    rows.addEventListener("click", (event) => {
      const row = /** @type {HTMLElement} */ (event.target).closest("[data-symbol]");
      if (row instanceof HTMLElement && row.dataset.symbol) this.#choose(row.dataset.symbol);
    });
    grid.addEventListener("keydown", (event) => this.#onKeydown(event));
    search.addEventListener("input", () => this.#filter());
    search.addEventListener("keydown", (event) => this.#onSearchKeydown(event));
  }

  /** @param {Listing[]} listings */
  set listings(listings) {
    this.#listings = listings;
    this.#listingsBySymbol = new Map(listings.map((listing) => [listing.symbol, listing]));
    this.#filter();
  }

  /** @param {string} symbol */
  listing(symbol) {
    return this.#listingsBySymbol.get(symbol);
  }

  /** First symbol that has a price, or the first symbol. */
  get defaultSymbol() {
    return (this.#listings.find(({ symbol }) => this.#lastTrades.has(symbol)) ?? this.#listings[0]).symbol;
  }

  get count() {
    return this.#listings.length;
  }

  /** @param {string} symbol */
  lastTrade(symbol) {
    return this.#lastTrades.get(symbol);
  }

  /** @returns {string[]} */
  get visibleSymbols() {
    return [...this.#rows.keys()];
  }

  /** Mark a symbol as selected and scroll to it. @param {string} symbol */
  select(symbol) {
    this.#selected = symbol;
    this.#scrollToSelected();
    this.queueRender();
  }

  /** Follow a stored trade or the change of one. @param {TradeEvent} event */
  apply(event) {
    const { symbol, change, latest } = event;
    const known = this.#lastTrades.get(symbol);
    if (change) this.#setLastTrade(symbol, latest ?? null);
    else if (!known || compareTrades(event, known) >= 0) this.#setLastTrade(symbol, event);
    this.dayChanges.expire(symbol, event.timestamp);
  }

  /** @param {Trade[]} trades Latest ones of some symbols. @param {string[] | null} symbols Those that were read; null for all. */
  setLastTrades(trades, symbols) {
    const read = new Map(trades.map((trade) => [trade.symbol, trade]));
    for (const symbol of new Set([...(symbols ?? this.#lastTrades.keys()), ...read.keys()]))
      this.#setLastTrade(symbol, read.get(symbol) ?? null);
  }

  /** @param {string} symbol @param {Trade | null} trade Null if the symbol has no trade. */
  #setLastTrade(symbol, trade) {
    const known = this.#lastTrades.get(symbol);
    if (trade) {
      this.#lastTrades.set(symbol, trade);
      updateDecimals(symbol, trade.price);
    } else this.#lastTrades.delete(symbol);
    if (trade && known) this.#priceMoves.set(symbol, (this.#priceMoves.get(symbol) ?? 0) + trade.price - known.price);
    this.queueRender();
  }

  /** Render with the next frame, at most once a frame. */
  queueRender() {
    if (this.#renderQueued) return;
    this.#renderQueued = true;
    requestAnimationFrame(() => this.#render());
  }

  #filter() {
    const text = search.value.trim().toUpperCase();
    const matches = (/** @type {Listing} */ { symbol, name }) => symbol.includes(text) || name.toUpperCase().includes(text);
    this.#matches = text ? this.#listings.filter(matches) : this.#listings;
    // Symbols that begin with the text come before those whose name contains it.
    if (text) this.#matches.sort((a, b) => Number(b.symbol.startsWith(text)) - Number(a.symbol.startsWith(text)));
    grid.setAttribute("aria-rowcount", String(this.#matches.length + HEADER_ROWS));
    const empty = text ? `No symbol matches “${search.value.trim()}”.` : "There are no symbols yet.";
    const [matchCount, count] = [this.#matches.length, this.#listings.length].map(countText);
    note.textContent = this.#matches.length ? `${matchCount} of ${count} symbols` : empty;
    note.hidden = this.#matches.length > 0 && !text;
    rows.scrollTop = 0;
    if (!text) this.#scrollToSelected();
    this.#render();
  }

  /** @param {string} symbol */
  #choose(symbol) {
    if (symbol !== this.#selected) this.#callbacks.onSelect(symbol);
  }

  /** @param {KeyboardEvent} event */
  #onKeydown(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const index = this.#selectedIndex();
    const page = Math.max(1, Math.floor(rows.clientHeight / this.#rowHeight()) - 1);
    const steps = { ArrowUp: index - 1, ArrowDown: index + 1, PageUp: index - page, PageDown: index + page };
    const targets = { ...steps, Home: 0, End: Infinity };
    const target = targets[/** @type {keyof typeof targets} */ (event.key)];
    if (target === undefined || !this.#matches.length) return;
    event.preventDefault();
    this.#choose(this.#matches[Math.max(0, Math.min(this.#matches.length - 1, target))].symbol);
  }

  /** @param {KeyboardEvent} event */
  #onSearchKeydown(event) {
    if (event.key === "Escape") {
      search.value = "";
      this.#filter();
      search.blur();
    } else if (event.key === "ArrowDown" || event.key === "Enter") {
      event.preventDefault();
      if (event.key === "Enter" && this.#matches.length) this.#choose(this.#matches[0].symbol);
      grid.focus();
    }
  }

  /** @returns {number} Index among the matches; -1 if the search excludes the selected symbol. */
  #selectedIndex() {
    return this.#matches.findIndex(({ symbol }) => symbol === this.#selected);
  }

  #scrollToSelected() {
    const index = this.#selectedIndex();
    if (index < 0) return;
    const height = this.#rowHeight();
    if (index * height < rows.scrollTop) rows.scrollTop = index * height;
    const minScrollTop = (index + 1) * height - rows.clientHeight;
    if (minScrollTop > rows.scrollTop) {
      this.#sizedSpacer(); // scrollTop is limited by the height of the content
      rows.scrollTop = minScrollTop;
    }
  }

  /** @returns {number} In pixels, as set by the style sheet. */
  #rowHeight() {
    return parseFloat(getComputedStyle(rows).getPropertyValue("--row"));
  }

  /** Return the element that holds the rows and has the height of all matches, so that the scroll bar is right. */
  #sizedSpacer() {
    let spacer = /** @type {HTMLElement | null} */ (rows.querySelector(".spacer"));
    if (!spacer) {
      spacer = document.createElement("div");
      spacer.className = "spacer";
      spacer.setAttribute("role", "presentation");
      rows.replaceChildren(spacer);
    }
    spacer.style.height = `${this.#matches.length * this.#rowHeight()}px`;
    return spacer;
  }

  #render() {
    this.#renderQueued = false;
    const spacer = this.#sizedSpacer();
    const height = this.#rowHeight();
    const from = Math.max(0, Math.floor(rows.scrollTop / height) - OVERSCAN_ROWS);
    const to = Math.ceil((rows.scrollTop + rows.clientHeight) / height) + OVERSCAN_ROWS;
    const before = this.visibleSymbols.join();
    /** @type {Map<string, HTMLElement>} */
    const rendered = new Map();
    this.#matches.slice(from, to).forEach((listing, offset) => {
      const index = from + offset;
      const row = this.#rows.get(listing.symbol) ?? createRow(listing);
      row.style.transform = `translateY(${index * height}px)`;
      row.setAttribute("aria-rowindex", String(index + 1 + HEADER_ROWS));
      rendered.set(listing.symbol, row);
      this.#updateRow(row, listing.symbol);
    });
    this.#rows = rendered;
    if (before !== this.visibleSymbols.join()) {
      spacer.replaceChildren(...rendered.values());
      this.#callbacks.onVisibleChange();
    }
    const active = rendered.get(this.#selected);
    if (active) grid.setAttribute("aria-activedescendant", active.id);
    else grid.removeAttribute("aria-activedescendant");
    this.dayChanges.request(this.visibleSymbols.filter((symbol) => this.#lastTrades.has(symbol)));
  }

  /** @param {HTMLElement} row @param {string} symbol */
  #updateRow(row, symbol) {
    const trade = this.#lastTrades.get(symbol);
    const [, price, change] = /** @type {HTMLElement[]} */ ([...row.children]);
    const ratio = trade ? this.dayChanges.changeOf(symbol, trade.price) : null;
    row.setAttribute("aria-selected", String(symbol === this.#selected));
    row.classList.toggle("stale", trade !== undefined && this.#callbacks.isStale(Date.parse(trade.timestamp)));
    setText(price, priceText(symbol, trade?.price));
    setText(change, ratio === null ? "—" : `${arrow(ratio)} ${percentText(ratio)}`);
    if (ratio === null) delete change.dataset.direction;
    else change.dataset.direction = direction(ratio);
    flash(price, this.#priceMoves.get(symbol) ?? 0);
    this.#priceMoves.delete(symbol);
  }

  static focusSearch() {
    search.focus();
    search.select();
  }
}

/** @param {Listing} listing */
function createRow({ symbol, name }) {
  const row = document.createElement("div");
  row.id = `row-${symbol}`;
  row.className = "row";
  row.dataset.symbol = symbol;
  row.setAttribute("role", "row");
  const [title, price, change] = ["title", "last", "change"].map((className) => {
    const cell = document.createElement("span");
    cell.className = className;
    cell.setAttribute("role", "gridcell");
    row.append(cell);
    return cell;
  });
  const symbolLabel = document.createElement("b");
  symbolLabel.textContent = symbol;
  const nameLabel = document.createElement("small");
  nameLabel.textContent = name;
  title.append(symbolLabel, " ", nameLabel);
  price.textContent = change.textContent = "—";
  return row;
}
