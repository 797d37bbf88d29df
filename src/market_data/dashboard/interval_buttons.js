/** Buttons of the candle intervals. */

import { byId } from "./dom.js";
import { INTERVALS } from "./intervals.js";

const group = byId("intervals");

/** @typedef {import("./intervals.js").Interval} Interval */

/** @param {(interval: Interval) => void} onSelect */
export function createIntervalButtons(onSelect) {
  INTERVALS.forEach((interval, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.interval = interval.name;
    button.setAttribute("aria-label", `${interval.label}, ${interval.title}`);
    button.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-keyshortcuts", String(index + 1));
    button.title = interval.title;
    button.textContent = interval.label;
    button.addEventListener("click", () => onSelect(interval));
    group.append(button);
  });
}

/** @param {Interval} interval The chosen one. */
export function markInterval(interval) {
  for (const button of group.children)
    button.setAttribute("aria-pressed", String(/** @type {HTMLElement} */ (button).dataset.interval === interval.name));
}
