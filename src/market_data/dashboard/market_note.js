/** State of the market of the selected symbol, beside its price: when it closes, or when it opens. */

import { announce } from "./announcer.js";
import { byId, setText } from "./dom.js";
import { ageText, dateText, weekdayText } from "./formats.js";
import { now } from "./service_clock.js";
import { timeZoneLabel, zonedIsoText } from "./time_zone.js";

/** @typedef {import("./market_hours.js").Hours} Hours */

const note = byId("market");
const MS_PER_DAY = 86_400_000;
/** Days are named within so many days; a week later, the name of today would be ambiguous. */
const NAMED_DAYS = 6;

/** Texts of the states. */
export const MARKET_STATES = Object.freeze({
  open: "Market open",
  pre: "Pre-market",
  post: "After the close",
  break: "Lunch break",
  closed: "Market closed",
});

/** Symbol and state that the note shows. */
let shown = { symbol: "", status: "" };

/** @param {string} symbol The selected one. @param {Hours | null} hours Null if it is always traded, or until they are known. */
export function showMarket(symbol, hours) {
  note.hidden = hours === null;
  const before = shown;
  shown = { symbol, status: hours?.status ?? "" };
  if (!hours) return;
  note.dataset.status = hours.status;
  const text = marketText(hours);
  setText(note, text);
  if (before.symbol === symbol && before.status && before.status !== hours.status) announce(`${symbol}: ${text}`, "data");
}

/** @param {Hours} hours @returns {string} Market closed, opens Mon 14:30 UTC (in 2 d 3 h) */
function marketText({ status, nextOpen, nextClose }) {
  const state = MARKET_STATES[status];
  if (status === "open") return nextClose === null ? state : `${state}, closes ${momentText(nextClose)}`;
  return nextOpen === null ? state : `${state}, opens ${momentText(nextOpen)} (in ${ageText(nextOpen - now())})`;
}

/** @param {number} ms @returns {string} at 14:30 UTC, Mon 14:30 UTC, or 2026-02-08 14:30 UTC */
function momentText(ms) {
  const zone = timeZoneLabel() === "UTC" ? " UTC" : "";
  const time = `${zonedIsoText(ms).slice(11, 16)}${zone}`;
  if (dateText(ms) === dateText(now())) return `at ${time}`;
  return `${ms - now() < NAMED_DAYS * MS_PER_DAY ? weekdayText(ms) : dateText(ms)} ${time}`;
}
