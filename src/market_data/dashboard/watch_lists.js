/** The user's own watch lists, kept in this browser. */

import { onStoredElsewhere, readStored, store } from "./storage.js";

const SETTING = "watch-lists";

/** @typedef {{name: string, symbols: string[]}} List Its symbols are in the order in which they were added. */

/** @param {any} value @returns {value is List} */
function isList(value) {
  const isText = (/** @type {unknown} */ each) => typeof each === "string";
  return isText(value?.name) && Array.isArray(value.symbols) && value.symbols.every(isText);
}

export class WatchLists {
  /** @type {List[]} */
  #lists = [];
  #shownName = "";
  #onChange;

  /** @param {() => void} onChange Called after each change, also one of another tab. */
  constructor(onChange) {
    this.#onChange = onChange;
    this.#read();
    onStoredElsewhere(SETTING, () => {
      this.#read();
      onChange();
    });
  }

  get all() {
    return this.#lists;
  }

  /** @returns {List | undefined} The list that is shown; undefined if all symbols are. */
  get shown() {
    return this.find(this.#shownName);
  }

  /** @param {string} name */
  find(name) {
    return this.#lists.find((list) => list.name === name);
  }

  /** @param {string} name Of a list; empty for all symbols. */
  show(name) {
    this.#shownName = name;
    this.#save();
  }

  /** Create and show a list. @param {string} name @param {string[]} symbols @returns {string} Problem with the name. */
  create(name, symbols) {
    const problem = this.#problemWith(name);
    if (problem) return problem;
    this.#lists.push({ name: name.trim(), symbols });
    this.show(name.trim());
    return "";
  }

  /** @param {List} list @param {string} name @returns {string} Problem with the name; empty if it is the list's now. */
  rename(list, name) {
    const problem = name.trim() === list.name ? "" : this.#problemWith(name);
    if (problem) return problem;
    if (this.#shownName === list.name) this.#shownName = name.trim();
    list.name = name.trim();
    this.#save();
    return "";
  }

  /** @param {List} list */
  delete(list) {
    this.#lists = this.#lists.filter((each) => each !== list);
    this.#save();
  }

  /** Add a symbol to a list, or remove it. @param {List} list @param {string} symbol */
  toggle(list, symbol) {
    const isListed = list.symbols.includes(symbol);
    list.symbols = isListed ? list.symbols.filter((each) => each !== symbol) : [...list.symbols, symbol];
    this.#save();
  }

  /** @param {string} name */
  #problemWith(name) {
    if (!name.trim()) return "Enter a name.";
    return this.find(name.trim()) ? `There is already a list ${name.trim()}.` : "";
  }

  #read() {
    const stored = /** @type {any} */ (readStored(SETTING));
    this.#lists = Array.isArray(stored?.lists) ? stored.lists.filter(isList) : [];
    this.#shownName = String(stored?.shown ?? "");
  }

  #save() {
    store(SETTING, this.#lists.length ? { lists: this.#lists, shown: this.#shownName } : undefined);
    this.#onChange();
  }
}
