/** Keys that work everywhere on the page but in a field, and the dialog that lists them. */

import { INTERVALS } from "./intervals.js";

const dialog = /** @type {HTMLDialogElement} */ (document.getElementById("shortcuts"));

/** Show the list. */
export function showShortcuts() {
  if (!dialog.open) dialog.showModal();
}

dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});

/**
 * @param {object} acts
 * @param {(index: number) => void} acts.interval
 * @param {(by: number) => void} acts.step To a longer interval, or with -1 to a shorter one.
 * @param {() => void} acts.find
 * @param {() => void} acts.theme
 * @param {() => void} acts.speak
 */
export function listen(acts) {
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
    if (event.target instanceof HTMLInputElement) return;
    const number = Number(event.key);
    /** @type {Record<string, () => void>} */
    const keys = {
      "[": () => acts.step(-1),
      "]": () => acts.step(1),
      "/": acts.find,
      "?": showShortcuts,
      t: acts.theme,
      p: acts.speak,
    };
    const act = number >= 1 && number <= INTERVALS.length ? () => acts.interval(number - 1) : keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}
