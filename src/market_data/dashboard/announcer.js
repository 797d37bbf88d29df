/** What a screen reader is told without being asked: one thing at a time, the newest, and never each tick. */

const SPACING_MS = 1000;

const place = /** @type {HTMLElement} */ (document.getElementById("announcer"));
let timer = 0;
let last = 0;

/** @param {string} text */
export function announce(text) {
  clearTimeout(timer);
  timer = setTimeout(
    () => {
      last = Date.now();
      place.textContent = text;
    },
    Math.max(150, last + SPACING_MS - Date.now()),
  );
}
