/** Keyboard shortcuts of the page, inactive in input fields, and the dialog that lists them. */

import { byId } from "./dom.js";
import { INTERVALS } from "./intervals.js";

const dialog = /** @type {HTMLDialogElement} */ (byId("shortcuts"));

export function showShortcuts() {
  if (!dialog.open) dialog.showModal();
}

// The target is the dialog itself only for clicks on its backdrop.
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});

/**
 * @param {object} actions
 * @param {(index: number) => void} actions.selectInterval
 * @param {(by: 1 | -1) => void} actions.stepInterval 1 for the next longer interval, -1 for the next shorter.
 * @param {() => void} actions.focusSearch
 * @param {() => void} actions.toggleTheme
 * @param {() => void} actions.announcePrice
 */
export function bindShortcuts(actions) {
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
    if (event.target instanceof HTMLInputElement) return;
    const number = Number(event.key);
    /** @type {Record<string, () => void>} */
    const actionsByKey = {
      "[": () => actions.stepInterval(-1),
      "]": () => actions.stepInterval(1),
      "/": actions.focusSearch,
      "?": showShortcuts,
      t: actions.toggleTheme,
      p: actions.announcePrice,
    };
    const selectsInterval = number >= 1 && number <= INTERVALS.length;
    const action = selectsInterval ? () => actions.selectInterval(number - 1) : actionsByKey[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
