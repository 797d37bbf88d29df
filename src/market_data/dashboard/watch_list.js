/**
 * Watch list: the symbols of a list, or all, with last price and 24-hour change. Only the visible rows are in the document, because there may
 * be thousands of symbols.
 *
 * The grid keeps the focus and names its active row (aria-activedescendant), because the active row may leave the document.
 */

import { announce } from "./announcer.js";
import { byId, setText } from "./dom.js";
import { changeRatio, countText } from "./formats.js";
import { LastTrades } from "./last_trades.js";
import { Sparklines } from "./sparklines.js";
import { SymbolSearch } from "./symbol_search.js";
import { WatchLists } from "./watch_lists.js";
import { WatchListsPanel } from "./watch_lists_panel.js";
import { WatchOrder } from "./watch_order.js";
import { createRow, updateRow } from "./watch_row.js";

/** Rows rendered above and below the visible ones, so that scrolling shows no gap. */
const OVERSCAN_ROWS = 4;
const HEADER_ROWS = 1;
/** Rows whose snapshots are read together. */
const BLOCK_ROWS = 100;

/**
 * @typedef {import("./trade_order.js").Trade} Trade
 * @typedef {import("./trade_order.js").TradeEvent} TradeEvent
 * @typedef {{symbol: string, name: string, type: string, description: string, aliases: string[], calendar?: string}} Listing
 */

const grid = byId("watch-list");
const rows = byId("rows");
const note = byId("watch-list-note");

export class WatchList {
  /** @type {Listing[]} */
  #listings = [];
  /** @type {Map<string, Listing>} */
  #listingsBySymbol = new Map();
  /** @type {Listing[]} Listings that match the search, or those of the shown list. */
  #matches = [];
  #lastTrades = new LastTrades();
  /** @type {Map<string, HTMLElement>} Rendered rows by symbol. */
  #rows = new Map();
  #selected = "";
  #renderQueued = false;
  #callbacks;
  #snapshots;
  #sparklines = new Sparklines(() => this.queueRender());
  #lists = new WatchLists(() => this.#onListsChange());
  #panel = new WatchListsPanel(this.#lists);
  #order = new WatchOrder(() => this.#filter());
  #search = new SymbolSearch({ onInput: () => this.#onSearchInput(), onEnter: () => this.#chooseFirst() });

  /**
   * @param {import("./snapshots.js").Snapshots} snapshots
   * @param {object} callbacks
   * @param {(symbol: string) => void} callbacks.onSelect
   * @param {() => void} callbacks.onVisibleChange Called when other symbols become visible.
   * @param {(symbol: string, lastTradeAt: number) => boolean} callbacks.isStale
   */
  constructor(snapshots, callbacks) {
    this.#snapshots = snapshots;
    this.#callbacks = callbacks;
    rows.addEventListener("scroll", () => this.queueRender(), { passive: true });
    new ResizeObserver(() => this.queueRender()).observe(rows);
    rows.addEventListener("click", (event) => {
      const row = /** @type {HTMLElement} */ (event.target).closest("[data-symbol]");
      if (row instanceof HTMLElement && row.dataset.symbol) this.#choose(row.dataset.symbol);
    });
    grid.addEventListener("keydown", (event) => this.#onKeydown(event));
  }

  /** @returns {readonly Listing[]} */
  get listings() {
    return this.#listings;
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

  /** First symbol that has a price, or the first symbol; of the shown list, unless it is empty. */
  get defaultSymbol() {
    const listings = this.#matches.length ? this.#matches : this.#listings;
    return (listings.find(({ symbol }) => this.#lastTrades.get(symbol)) ?? listings[0]).symbol;
  }

  get count() {
    return this.#listings.length;
  }

  /** @param {string} symbol */
  lastTrade(symbol) {
    return this.#lastTrades.get(symbol);
  }

  /** @returns {string[]} Visible symbols and the selected one. */
  get shownSymbols() {
    const symbols = new Set(this.#rows.keys());
    if (this.#selected) symbols.add(this.#selected);
    return [...symbols].sort();
  }

  /** Mark a symbol as selected and scroll to it. @param {string} symbol */
  select(symbol) {
    this.#selected = symbol;
    this.#panel.symbol = symbol;
    this.#scrollToSelected();
    this.queueRender();
  }

  /** Read the prices of a symbol again, because its history has changed. @param {string} symbol */
  expire(symbol) {
    this.#snapshots.expire(symbol);
    this.#sparklines.expire(symbol);
    this.queueRender(); // requests them again
  }

  showLists() {
    this.#panel.open();
  }

  /** Follow a stored trade or the change of one. @param {TradeEvent} event */
  apply(event) {
    this.#lastTrades.apply(event);
    this.queueRender();
  }

  /** @param {string[]} symbols Those that were read. @param {Trade[]} trades Latest ones of those that have a trade. */
  setLastTrades(symbols, trades) {
    const read = new Map(trades.map((trade) => [trade.symbol, trade]));
    const knowsMore = trades.some(({ symbol }) => !this.#lastTrades.get(symbol));
    for (const symbol of symbols) this.#lastTrades.set(symbol, read.get(symbol) ?? null);
    if (knowsMore) this.#sortAgain();
    this.queueRender();
  }

  /** Render with the next frame, at most once a frame. */
  queueRender() {
    if (this.#renderQueued) return;
    this.#renderQueued = true;
    requestAnimationFrame(() => this.#render());
  }

  #onListsChange() {
    this.#panel.render();
    this.#filter();
  }

  /** @returns {Listing[]} Those of the shown list, or all. */
  #listed() {
    const list = this.#lists.shown;
    if (!list) return this.#listings;
    return list.symbols.flatMap((symbol) => this.#listingsBySymbol.get(symbol) ?? []);
  }

  #filter() {
    const { text } = this.#search;
    // Among all symbols, so that one can be added to the shown list.
    this.#matches = text ? this.#search.find(this.#listings) : this.#sorted(this.#listed());
    grid.setAttribute("aria-rowcount", String(this.#matches.length + HEADER_ROWS));
    const list = this.#lists.shown?.name;
    const empty = list && this.#listings.length ? `No symbols in ${list}. Select one to add it.` : "There are no symbols yet.";
    const [matchCount, count] = [this.#matches.length, this.#listings.length].map(countText);
    const none = text ? `No symbol matches “${text}”.` : empty;
    note.textContent = this.#matches.length ? `${matchCount} of ${count} symbols` : none;
    note.hidden = this.#matches.length > 0 && !text;
    rows.scrollTop = 0;
    if (!text) this.#scrollToSelected();
    this.#render();
  }

  /** @param {Listing[]} listings */
  #sorted(listings) {
    return this.#order.sort(listings, {
      last: (symbol) => this.#lastTrades.get(symbol)?.price,
      change: (symbol) => this.#ratio(symbol) ?? undefined,
    });
  }

  /** @param {string} symbol @returns {number | null} Change in 24 hours; null if unknown. */
  #ratio(symbol) {
    const trade = this.#lastTrades.get(symbol);
    const reference = this.#snapshots.reference(symbol);
    return trade && reference !== null ? changeRatio(trade.price, reference) : null;
  }

  #onSearchInput() {
    this.#filter();
    if (this.#search.text) announce(note.textContent ?? "");
  }

  #chooseFirst() {
    if (this.#matches.length) this.#choose(this.#matches[0].symbol);
    return this.#matches.length > 0;
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
    const before = [...this.#rows.keys()].join();
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
    if (before !== [...rendered.keys()].join()) {
      spacer.replaceChildren(...rendered.values());
      this.#callbacks.onVisibleChange();
    }
    const active = rendered.get(this.#selected);
    if (active) grid.setAttribute("aria-activedescendant", active.id);
    else grid.removeAttribute("aria-activedescendant");
    this.#sparklines.request([...rendered.keys()]);
    const block = this.#matches.slice(from - (from % BLOCK_ROWS), to - (to % BLOCK_ROWS) + BLOCK_ROWS);
    this.#snapshots.request(this.#neededSymbols(), block.map(({ symbol }) => symbol));
    if (this.#order.isDue(this.#matches)) this.#sortAgain();
  }

  /** @returns {string[]} The shown symbols, and all that the order depends on. */
  #neededSymbols() {
    const listed = this.#listed();
    if (!this.#order.needsPrices(listed)) return this.shownSymbols;
    return [...new Set([...this.shownSymbols, ...listed.map(({ symbol }) => symbol)])].sort();
  }

  #sortAgain() {
    if (this.#search.text || !this.#order.needsPrices(this.#matches)) return;
    this.#matches = this.#sorted(this.#listed());
    this.queueRender();
  }

  /** @param {HTMLElement} row @param {string} symbol */
  #updateRow(row, symbol) {
    const trade = this.#lastTrades.get(symbol);
    updateRow(row, {
      symbol,
      price: trade?.price,
      move: this.#lastTrades.takeMove(symbol),
      ratio: this.#ratio(symbol),
      line: this.#sparklines.line(symbol),
      selected: symbol === this.#selected,
      stale: trade !== undefined && this.#callbacks.isStale(symbol, Date.parse(trade.timestamp)),
    });
  }

  focusSearch() {
    this.#search.focus();
  }
}
