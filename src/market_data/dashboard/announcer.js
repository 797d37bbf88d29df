/** Screen reader announcements: rate-limited, and only the latest text of a subject is spoken. Price ticks are not announced. */

import { byId } from "./dom.js";

const SPACING_MS = 1000;
/** Delay that lets a second announcement of the same user action replace the first. */
const MIN_DELAY_MS = 150;

const liveRegion = byId("announcer");
/** @type {Map<string, string>} Texts that are not spoken yet, by subject. */
const pending = new Map();
let timer = 0;
let lastAnnouncedAt = -Infinity;

/** @param {string} text @param {"action" | "data"} [subject] Something the user did, or the state of data and connection. */
export function announce(text, subject = "action") {
  pending.delete(subject);
  pending.set(subject, text);
  speakNext();
}

function speakNext() {
  clearTimeout(timer);
  const delay = Math.max(MIN_DELAY_MS, lastAnnouncedAt + SPACING_MS - performance.now());
  timer = setTimeout(() => {
    const [[subject, text]] = pending;
    pending.delete(subject);
    lastAnnouncedAt = performance.now();
    liveRegion.textContent = text;
    if (pending.size) speakNext();
  }, delay);
}
