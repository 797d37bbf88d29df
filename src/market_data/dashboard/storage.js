/** Choices of the user that this browser keeps as JSON. If storage is blocked, they last until the page is closed. */

const PREFIX = "market-data.";

/** @param {string} name @returns {unknown} Undefined if nothing (or nothing readable) is stored. */
export function readStored(name) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name) ?? "");
  } catch {
    return undefined;
  }
}

/** @param {string} name @param {unknown} value Undefined to remove it. */
export function store(name, value) {
  try {
    if (value === undefined) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // Storage is blocked or full.
  }
}

/** @param {string} name @param {() => void} listener Called when another tab changes the value. */
export function onStoredElsewhere(name, listener) {
  addEventListener("storage", ({ key }) => (key === null || key === PREFIX + name) && listener());
}
