/** Message in place of the chart: loading, empty, or failed with a button to try again. */

import { byId } from "./dom.js";

const overlay = byId("overlay");
const message = byId("overlay-text");
const retryButton = byId("retry");

/** @param {"loading" | "problem" | "empty"} kind @param {string} text */
export function showOverlay(kind, text) {
  overlay.className = `overlay ${kind}`;
  overlay.hidden = false;
  message.textContent = text;
  retryButton.hidden = kind !== "problem";
}

export function hideOverlay() {
  overlay.hidden = true;
}

/** Resolve on the next click of the retry button. */
export function retryClicked() {
  return new Promise((resolve) => retryButton.addEventListener("click", resolve, { once: true }));
}
