/** DOM helpers shared by the panels. */

/** @param {string} id Id of an element of index.html. */
export function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/** Set the text unless it is set already: each write costs a layout. @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Highlight an element briefly after a price move. @param {HTMLElement} element @param {number} difference */
export function flash(element, difference) {
  if (!difference) return;
  element.classList.remove("flash-up", "flash-down");
  void element.offsetWidth; // forces a reflow, which restarts the animation
  element.classList.add(difference > 0 ? "flash-up" : "flash-down");
}
