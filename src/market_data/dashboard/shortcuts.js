/**
 * Keyboard shortcuts of the page, inactive in fields and dialogs, and the dialog that lists them.
 *
 * They are single characters, which speech input may type by mistake, so the user can switch them off (WCAG 2.1.4).
 */

import { byId } from "./dom.js";
import { INTERVALS } from "./intervals.js";
import { readStored, store } from "./storage.js";

const SETTING = "shortcuts";

const dialog = /** @type {HTMLDialogElement} */ (byId("shortcuts"));
const enabledBox = /** @type {HTMLInputElement} */ (byId("shortcuts-enabled"));

export function showShortcuts() {
  if (!dialog.open) dialog.showModal();
}

// The target is the dialog itself only for clicks on its backdrop.
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});

enabledBox.addEventListener("change", () => {
  store(SETTING, enabledBox.checked ? undefined : false);
  showEnabled();
});

function showEnabled() {
  document.documentElement.classList.toggle("no-shortcuts", !enabledBox.checked);
  for (const each of document.querySelectorAll("[aria-keyshortcuts], [data-shortcut]"))
    showShortcut(/** @type {HTMLElement} */ (each));
}

/** Show the shortcut of an element, as `aria-keyshortcuts` and in its tooltip, only while it works. @param {HTMLElement} element */
function showShortcut(element) {
  const { dataset } = element;
  dataset.shortcut ??= element.getAttribute("aria-keyshortcuts") ?? "";
  dataset.tooltip ??= element.title;
  const shortcut = enabledBox.checked ? dataset.shortcut : "";
  if (shortcut) element.setAttribute("aria-keyshortcuts", shortcut);
  else element.removeAttribute("aria-keyshortcuts");
  if (dataset.tooltip) element.title = shortcut ? `${dataset.tooltip} (${shortcut})` : dataset.tooltip;
}

/** @param {HTMLElement} element With a shortcut. @param {string} text */
export function setTooltip(element, text) {
  element.dataset.tooltip = text;
  showShortcut(element);
}

/**
 * Not so a field of a dialog that was just closed, which keeps the focus until the next frame.
 * @param {EventTarget | null} target
 */
function takesText(target) {
  const fields = "input:not([type=checkbox], [type=radio]), select, textarea";
  return target instanceof HTMLElement && target.matches(fields) && target.checkVisibility();
}

/**
 * @param {object} actions
 * @param {(index: number) => void} actions.selectInterval
 * @param {(by: 1 | -1) => void} actions.stepInterval 1 for the next longer interval, -1 for the next shorter.
 * @param {() => void} actions.focusSearch
 * @param {() => void} actions.toggleTheme
 * @param {() => void} actions.announcePrice
 * @param {() => void} actions.toggleTape Pause or resume the trades.
 * @param {() => void} actions.showWatchLists
 */
export function bindShortcuts(actions) {
  enabledBox.checked = readStored(SETTING) !== false;
  showEnabled();
  addEventListener("keydown", (event) => {
    if (!enabledBox.checked || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (takesText(event.target) || document.querySelector("dialog[open]")) return;
    const number = Number(event.key);
    /** @type {Record<string, () => void>} */
    const actionsByKey = {
      "[": () => actions.stepInterval(-1),
      "]": () => actions.stepInterval(1),
      "/": actions.focusSearch,
      "?": showShortcuts,
      l: actions.showWatchLists,
      p: actions.announcePrice,
      s: actions.toggleTape,
      t: actions.toggleTheme,
    };
    const selectsInterval = number >= 1 && number <= INTERVALS.length;
    const action = selectsInterval ? () => actions.selectInterval(number - 1) : actionsByKey[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
