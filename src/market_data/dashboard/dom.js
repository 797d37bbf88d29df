/** DOM helpers shared by the panels. */

/** @param {string} id Id of an element of index.html. */
export function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/** Set the text unless it is set already: each write costs a layout. @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Time between two highlights of an element: at a high trade rate each one goes out before the next. */
const FLASH_SPACING_MS = 1500;
/** @type {WeakMap<Element, number>} Start of the last highlight. */
const flashedAt = new WeakMap();

/**
 * Show a price, and highlight briefly the digits that a move has changed.
 * @param {HTMLElement} element
 * @param {string} text
 * @param {number} [move] Difference from the shown price; 0 for the price of another symbol.
 */
export function showPrice(element, text, move = 0) {
  const before = element.textContent ?? "";
  if (text === before) return;
  const [prefix, digits] = [element.firstChild, element.querySelector("span")];
  if (move && performance.now() - (flashedAt.get(element) ?? -Infinity) >= FLASH_SPACING_MS) {
    flashedAt.set(element, performance.now());
    const start = text.length === before.length ? [...text].findIndex((each, index) => each !== before[index]) : 0;
    const changed = document.createElement("span"); // another element, because that starts the animation again
    changed.className = move > 0 ? "flash-up" : "flash-down";
    changed.textContent = text.slice(start);
    element.replaceChildren(text.slice(0, start), changed);
  } else if (move && prefix && digits) {
    const start = (prefix.textContent ?? "").length;
    prefix.textContent = text.slice(0, start);
    digits.textContent = text.slice(start);
  } else element.textContent = text;
}
