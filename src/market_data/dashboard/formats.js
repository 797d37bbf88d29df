/** Numbers and times as text. Times are in the zone that the user has chosen. */

import { zonedDate, zonedIsoText } from "./time_zone.js";

const MINUS = "−";
const MISSING = "—";
const WEEKDAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/** @type {Map<string, number>} Decimals shown for each symbol's prices; grows with the prices seen, never shrinks. */
const decimalsBySymbol = new Map();
/** @type {Map<number, Intl.NumberFormat>} */
const formattersByDecimals = new Map();
const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 2 });
const plain = new Intl.NumberFormat("en-US", { maximumFractionDigits: 2 });

/** @param {number} value @returns {number} Decimals of the shortest notation that round-trips. */
function decimalsOf(value) {
  const [digits, exponent] = String(value).split("e");
  return Math.max(0, (digits.split(".")[1] ?? "").length - Number(exponent ?? 0));
}

/** @param {number} price @returns {number} Maximum of decimals shown at this magnitude. */
function maxDecimals(price) {
  const size = Math.abs(price);
  if (size >= 1000) return 2;
  if (size >= 1 || size === 0) return 4;
  return Math.min(12, 3 - Math.floor(Math.log10(size)));
}

/**
 * Raise the decimals of a symbol to what these prices need, so that all its prices are shown with the same number.
 * @param {string} symbol
 * @param {number[]} prices
 * @returns {number} Decimals of the symbol: at least two.
 */
export function updateDecimals(symbol, ...prices) {
  const needed = prices.map((price) => Math.min(maxDecimals(price), decimalsOf(price)));
  const decimals = Math.max(2, decimalsBySymbol.get(symbol) ?? 0, ...needed);
  decimalsBySymbol.set(symbol, decimals);
  return decimals;
}

/** @param {string} symbol @param {number | null | undefined} price */
export function priceText(symbol, price) {
  if (price === null || price === undefined) return MISSING;
  const decimals = decimalsBySymbol.get(symbol) ?? updateDecimals(symbol, price);
  let formatter = formattersByDecimals.get(decimals);
  if (!formatter) {
    formatter = new Intl.NumberFormat("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
    formattersByDecimals.set(decimals, formatter);
  }
  return formatter.format(price).replace("-", MINUS);
}

/** @param {number | null | undefined} volume */
export function volumeText(volume) {
  if (volume === null || volume === undefined) return MISSING;
  return volume >= 10_000 ? compact.format(volume) : plain.format(volume);
}

/** @param {number} count */
export function countText(count) {
  return plain.format(count);
}

/** @param {number} count @param {string} noun Its plural ends in s. @returns {string} 1 trade, 1,200 trades */
export function quantityText(count, noun) {
  return `${countText(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** @param {number} difference @param {string} text Absolute value of the difference. */
export function withSign(difference, text) {
  return difference > 0 ? `+${text}` : difference < 0 ? `${MINUS}${text}` : text;
}

/** @param {number} price @param {number} base @returns {number | null} Null if the base is 0 or less. */
export function changeRatio(price, base) {
  return base > 0 ? (price - base) / base : null;
}

/** @param {number | null} ratio 0.01 is one percent. */
export function percentText(ratio) {
  if (ratio === null) return MISSING;
  const rounded = Math.round(ratio * 1e4) / 100;
  return `${withSign(rounded, Math.abs(rounded).toFixed(2))}%`;
}

/** @param {number} difference @returns {string} Shows the direction to readers who can't tell the colours apart. */
export function arrow(difference) {
  return difference > 0 ? "▲" : difference < 0 ? "▼" : "";
}

/** @param {number} ratio @returns {number} As shown: 0 if it rounds to 0.00%, so that arrow and colour agree with the text. */
export function shownRatio(ratio) {
  return Math.round(ratio * 1e4) / 1e4;
}

/**
 * @param {number | null} ratio
 * @param {number} [difference] Determines the arrow if there is no ratio.
 * @returns {string} ▲ +1.25%, without an arrow for 0.00%
 */
export function changeText(ratio, difference = 0) {
  return `${arrow(ratio === null ? difference : shownRatio(ratio))} ${percentText(ratio)}`.trim();
}

/** @param {number} difference @returns {"up" | "down" | "same"} */
export function direction(difference) {
  return difference > 0 ? "up" : difference < 0 ? "down" : "same";
}

/** @param {number} ms @returns {string} 10:30:00 */
export function timeText(ms) {
  return zonedIsoText(ms).slice(11, 19);
}

/** @param {number} ms @returns {string} 2026-02-08 */
export function dateText(ms) {
  return zonedIsoText(ms).slice(0, 10);
}

/** @param {number} ms @returns {string} Mon */
export function weekdayText(ms) {
  return WEEKDAYS[zonedDate(ms).getUTCDay()];
}

/** @param {number} ms @param {number} now @returns {string} 10:30:00.125, or 2026-02-08 10:30:00.125 on another day. */
export function preciseTimestampText(ms, now) {
  const milliseconds = String(ms % 1000).padStart(3, "0");
  return `${shortTimestampText(ms, now)}.${milliseconds}`;
}

/** @param {number} ms @param {number} now @returns {string} 10:30:00, or 2026-02-08 10:30:00 on another day than `now`. */
export function shortTimestampText(ms, now) {
  return dateText(ms) === dateText(now) ? timeText(ms) : `${dateText(ms)} ${timeText(ms)}`;
}

/**
 * @param {number} start Seconds since 1970.
 * @param {number} length In seconds. Buckets of a day and more are days of UTC, or dates of the exchange, in any time zone.
 */
export function bucketText(start, length) {
  if (length >= 86400) return new Date(start * 1000).toISOString().slice(0, 10);
  const iso = zonedIsoText(start * 1000);
  return `${iso.slice(0, 10)} ${iso.slice(11, 16)}`;
}

/** @param {number} ms @returns {string} 3 s, 2 min 5 s, 4 h 2 min, 3 d 4 h */
export function ageText(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [minutes, hours, days] = [Math.floor(seconds / 60), Math.floor(seconds / 3600), Math.floor(seconds / 86400)];
  if (!minutes) return `${seconds} s`;
  if (!hours) return `${minutes} min ${seconds % 60} s`;
  if (!days) return `${hours} h ${minutes % 60} min`;
  return `${days} d ${hours % 24} h`;
}
