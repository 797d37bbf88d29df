/**
 * The watch list: every symbol, its last price, its change in 24 hours. Of thousands only those in view are in the document.
 *
 * It keeps the focus itself and names its active row, for a row may leave the document while it is the active one.
 */

import { Changes } from "./changes.js";
import { arrow, countText, direction, learn, percentText, priceText } from "./formats.js";
import { flash, isOlder } from "./quote.js";

/** Rows above and below the view that are there already. */
const SPARE = 4;
const HEADERS = 1;

/** @typedef {import("./quote.js").Trade} Trade @typedef {{symbol: string, name: string}} Listing */

const grid = /** @type {HTMLElement} */ (document.getElementById("watch"));
const rows = /** @type {HTMLElement} */ (document.getElementById("rows"));
const search = /** @type {HTMLInputElement} */ (document.getElementById("search"));
const note = /** @type {HTMLElement} */ (document.getElementById("watch-note"));

export class WatchList {
  /** @type {Listing[]} */
  #listings = [];
  /** @type {Map<string, Listing>} The same by symbol. */
  #known = new Map();
  /** @type {Listing[]} Those that the search leaves. */
  #found = [];
  /** @type {Map<string, Trade>} */
  #trades = new Map();
  /** @type {Map<string, HTMLElement>} The rows in the document. */
  #rows = new Map();
  changes = new Changes(() => this.#soon());
  /** @type {Map<string, number>} Price differences that have not been shown yet. */
  #news = new Map();
  #selected = "";
  #due = false;
  #tell;

  /**
   * @param {object} tell
   * @param {(symbol: string) => void} tell.chosen
   * @param {() => void} tell.seen Other symbols are in view.
   * @param {(time: number | undefined) => boolean} tell.isOld
   */
  constructor(tell) {
    this.#tell = tell;
    rows.addEventListener("scroll", () => this.#soon(), { passive: true });
    new ResizeObserver(() => this.#soon()).observe(rows);
    rows.addEventListener("click", (event) => {
      const row = /** @type {HTMLElement} */ (event.target).closest("[data-symbol]");
      if (row instanceof HTMLElement && row.dataset.symbol) this.#choose(row.dataset.symbol);
    });
    grid.addEventListener("keydown", (event) => this.#press(event));
    search.addEventListener("input", () => this.#search());
    search.addEventListener("keydown", (event) => this.#pressInSearch(event));
  }

  /** @param {Listing[]} listings */
  set listings(listings) {
    this.#listings = listings;
    this.#known = new Map(listings.map((each) => [each.symbol, each]));
    this.#search();
  }

  /** @param {string} symbol */
  listing(symbol) {
    return this.#known.get(symbol);
  }

  /** The symbol to begin with: the first one that has a price. */
  get first() {
    return (this.#listings.find((each) => this.#trades.has(each.symbol)) ?? this.#listings[0]).symbol;
  }

  get count() {
    return this.#listings.length;
  }

  /** @param {string} symbol */
  newest(symbol) {
    return this.#trades.get(symbol);
  }

  /** @returns {string[]} The symbols in view. */
  get seen() {
    return [...this.#rows.keys()];
  }

  /** @param {string} symbol The one that is shown. */
  select(symbol) {
    this.#selected = symbol;
    this.#reveal();
    this.#soon();
  }

  /** @param {Trade} trade @returns {boolean} Whether it is newer than what was known. */
  trade(trade) {
    const known = this.#trades.get(trade.symbol);
    if (isOlder(trade, known)) return false;
    this.#trades.set(trade.symbol, trade);
    learn(trade.symbol, trade.price);
    if (known) this.#news.set(trade.symbol, (this.#news.get(trade.symbol) ?? 0) + trade.price - known.price);
    this.#soon();
    return true;
  }

  /** Show ages and changes as they are now. */
  refresh() {
    this.#soon();
  }

  #search() {
    const text = search.value.trim().toUpperCase();
    const fits = (/** @type {Listing} */ each) => each.symbol.includes(text) || each.name.toUpperCase().includes(text);
    this.#found = text ? this.#listings.filter(fits) : this.#listings;
    // What begins with it first: the symbol that somebody types is not to be buried under names.
    if (text) this.#found.sort((one, other) => Number(other.symbol.startsWith(text)) - Number(one.symbol.startsWith(text)));
    grid.setAttribute("aria-rowcount", String(this.#found.length + HEADERS));
    const empty = text ? `Nothing matches “${search.value.trim()}”.` : "There are no symbols yet.";
    const [found, all] = [this.#found.length, this.#listings.length].map(countText);
    note.textContent = this.#found.length ? `${found} of ${all} symbols` : empty;
    note.hidden = this.#found.length > 0 && !text;
    rows.scrollTop = 0;
    if (!text) this.#reveal();
    this.#show();
  }

  /** @param {string} symbol */
  #choose(symbol) {
    if (symbol !== this.#selected) this.#tell.chosen(symbol);
  }

  /** @param {KeyboardEvent} event */
  #press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const index = this.#found.findIndex((each) => each.symbol === this.#selected);
    const page = Math.max(1, Math.floor(rows.clientHeight / this.#height()) - 1);
    const steps = { ArrowUp: index - 1, ArrowDown: index + 1, PageUp: index - page, PageDown: index + page };
    const keys = { ...steps, Home: 0, End: Infinity };
    const target = keys[/** @type {keyof typeof keys} */ (event.key)];
    if (target === undefined || !this.#found.length) return;
    event.preventDefault();
    this.#choose(this.#found[Math.max(0, Math.min(this.#found.length - 1, target))].symbol);
  }

  /** @param {KeyboardEvent} event */
  #pressInSearch(event) {
    if (event.key === "Escape") {
      search.value = "";
      this.#search();
      search.blur();
    } else if (event.key === "ArrowDown" || event.key === "Enter") {
      event.preventDefault();
      if (event.key === "Enter" && this.#found.length) this.#choose(this.#found[0].symbol);
      grid.focus();
    }
  }

  /** Bring the selected row into view. */
  #reveal() {
    const index = this.#found.findIndex((each) => each.symbol === this.#selected);
    if (index < 0) return;
    const height = this.#height();
    if (index * height < rows.scrollTop) rows.scrollTop = index * height;
    const below = (index + 1) * height - rows.clientHeight;
    if (below > rows.scrollTop) {
      this.#stretch();
      rows.scrollTop = below;
    }
  }

  /** @returns {number} Of a row, in pixels: as the style sheet has it. */
  #height() {
    return parseFloat(getComputedStyle(rows).getPropertyValue("--row"));
  }

  #stretch() {
    let spacer = /** @type {HTMLElement | null} */ (rows.querySelector(".spacer"));
    if (!spacer) {
      spacer = document.createElement("div");
      spacer.className = "spacer";
      spacer.setAttribute("role", "presentation");
      rows.replaceChildren(spacer);
    }
    spacer.style.height = `${this.#found.length * this.#height()}px`;
    return spacer;
  }

  #soon() {
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => this.#show());
  }

  #show() {
    this.#due = false;
    const spacer = this.#stretch();
    const height = this.#height();
    const from = Math.max(0, Math.floor(rows.scrollTop / height) - SPARE);
    const to = Math.ceil((rows.scrollTop + rows.clientHeight) / height) + SPARE;
    const shown = this.#found.slice(from, to);
    const before = this.seen.join();
    /** @type {Map<string, HTMLElement>} */
    const kept = new Map();
    shown.forEach((listing, index) => {
      const row = this.#rows.get(listing.symbol) ?? makeRow(listing);
      row.style.transform = `translateY(${(from + index) * height}px)`;
      row.setAttribute("aria-rowindex", String(from + index + 1 + HEADERS));
      kept.set(listing.symbol, row);
      this.#fill(row, listing.symbol);
    });
    this.#rows = kept;
    if (before !== this.seen.join()) {
      spacer.replaceChildren(...kept.values());
      this.#tell.seen();
    }
    const active = kept.get(this.#selected);
    if (active) grid.setAttribute("aria-activedescendant", active.id);
    else grid.removeAttribute("aria-activedescendant");
    this.changes.want(this.seen.filter((symbol) => this.#trades.has(symbol)));
  }

  /** @param {HTMLElement} row @param {string} symbol */
  #fill(row, symbol) {
    const trade = this.#trades.get(symbol);
    const [, last, change] = /** @type {HTMLElement[]} */ ([...row.children]);
    const share = trade ? this.changes.of(symbol, trade.price) : null;
    row.setAttribute("aria-selected", String(symbol === this.#selected));
    row.classList.toggle("old", trade !== undefined && this.#tell.isOld(Date.parse(trade.timestamp)));
    write(last, priceText(symbol, trade?.price));
    write(change, share === null ? "—" : `${arrow(share)} ${percentText(share)}`);
    if (share === null) delete change.dataset.direction;
    else change.dataset.direction = direction(share);
    flash(last, this.#news.get(symbol) ?? 0);
    this.#news.delete(symbol);
  }

  /** Let somebody type the symbol that they look for. */
  static focusSearch() {
    search.focus();
    search.select();
  }
}

/** @param {Listing} listing */
function makeRow({ symbol, name }) {
  const row = document.createElement("div");
  row.id = `row-${symbol}`;
  row.className = "row";
  row.dataset.symbol = symbol;
  row.setAttribute("role", "row");
  const [title, last, change] = ["title", "last", "change"].map((kind) => {
    const cell = document.createElement("span");
    cell.className = kind;
    cell.setAttribute("role", "gridcell");
    row.append(cell);
    return cell;
  });
  const code = document.createElement("b");
  code.textContent = symbol;
  const words = document.createElement("small");
  words.textContent = name;
  title.append(code, " ", words);
  last.textContent = change.textContent = "—";
  return row;
}

/** @param {HTMLElement} element @param {string} text */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
