/** Search field of the watch list. */

import { byId } from "./dom.js";

const input = /** @type {HTMLInputElement} */ (byId("search"));
const grid = byId("watch-list");

/** @typedef {import("./watch_list.js").Listing} Listing */

export class SymbolSearch {
  #callbacks;
  /** @type {HTMLElement | null} Has the focus again after Escape. */
  #focusedBefore = null;

  /**
   * @param {object} callbacks
   * @param {() => void} callbacks.onInput Called after each change of the text.
   * @param {() => boolean} callbacks.onEnter Choose the first match; false if there is none.
   */
  constructor(callbacks) {
    this.#callbacks = callbacks;
    input.addEventListener("input", callbacks.onInput);
    input.addEventListener("keydown", (event) => this.#onKeydown(event));
    input.addEventListener("focus", ({ relatedTarget }) => {
      this.#focusedBefore = relatedTarget instanceof HTMLElement ? relatedTarget : null;
    });
  }

  /** @returns {string} As typed, without spaces around it. */
  get text() {
    return input.value.trim();
  }

  /** @param {Listing[]} listings @returns {Listing[]} Matches: symbols that begin with the text come first. */
  find(listings) {
    const text = this.text.toUpperCase();
    const matches = (/** @type {Listing} */ { symbol, name, description, aliases }) =>
      [symbol, name, description, ...aliases].some((each) => each.toUpperCase().includes(text));
    const rank = (/** @type {Listing} */ { symbol }) => Number(!symbol.startsWith(text));
    return listings.filter(matches).sort((a, b) => rank(a) - rank(b));
  }

  focus() {
    input.focus();
    input.select();
  }

  /** @param {KeyboardEvent} event */
  #onKeydown(event) {
    if (event.key === "Escape") {
      this.#clear();
      const before = this.#focusedBefore;
      (before?.checkVisibility() ? before : grid).focus();
    } else if (event.key === "ArrowDown" || (event.key === "Enter" && this.#callbacks.onEnter())) {
      event.preventDefault();
      if (event.key === "Enter") this.#clear();
      grid.focus();
    }
  }

  #clear() {
    if (!input.value) return;
    input.value = "";
    this.#callbacks.onInput();
  }
}
