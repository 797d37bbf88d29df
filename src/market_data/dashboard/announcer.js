/** Screen reader announcements: rate-limited, and only the latest text is spoken. Price ticks are not announced. */

import { byId } from "./dom.js";

const SPACING_MS = 1000;
/** Delay that lets a second announcement of the same user action replace the first. */
const MIN_DELAY_MS = 150;

const liveRegion = byId("announcer");
let timer = 0;
let lastAnnouncedAt = 0;

/** @param {string} text */
export function announce(text) {
  clearTimeout(timer);
  timer = setTimeout(
    () => {
      lastAnnouncedAt = Date.now();
      liveRegion.textContent = text;
    },
    Math.max(MIN_DELAY_MS, lastAnnouncedAt + SPACING_MS - Date.now()),
  );
}
