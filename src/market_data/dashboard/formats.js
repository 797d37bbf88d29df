/** Numbers and times as text. Times are in UTC, throughout. */

const MINUS = "−";
const NONE = "—";

/** @type {Map<string, number>} Decimals of each symbol's prices: as many as it has needed so far. */
const places = new Map();
const formatters = new Map();
const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 2 });
const plain = new Intl.NumberFormat("en-US", { maximumFractionDigits: 2 });

/** @param {number} value @returns {number} Decimals that its shortest form has. */
function decimals(value) {
  const [digits, exponent] = String(value).split("e");
  return Math.max(0, (digits.split(".")[1] ?? "").length - Number(exponent ?? 0));
}

/** @param {number} price @returns {number} Decimals that a price of this magnitude is worth. */
function worth(price) {
  if (price >= 1000) return 2;
  if (price >= 1 || price <= 0) return 4;
  return Math.min(12, 3 - Math.floor(Math.log10(price)));
}

/**
 * Note what prices a symbol has.
 * @returns {number} The decimals to show of them: at least two.
 */
export function learn(/** @type {string} */ symbol, /** @type {number[]} */ ...prices) {
  const needed = prices.map((price) => Math.min(worth(price), decimals(price)));
  const most = Math.max(2, places.get(symbol) ?? 0, ...needed);
  places.set(symbol, most);
  return most;
}

/** @param {string} symbol @param {number | null | undefined} price */
export function priceText(symbol, price) {
  if (price === null || price === undefined) return NONE;
  const digits = places.get(symbol) ?? learn(symbol, price);
  let formatter = formatters.get(digits);
  if (!formatter) {
    formatter = new Intl.NumberFormat("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
    formatters.set(digits, formatter);
  }
  return formatter.format(price).replace("-", MINUS);
}

/** @param {number | null | undefined} volume */
export function volumeText(volume) {
  if (volume === null || volume === undefined) return NONE;
  return volume >= 10_000 ? compact.format(volume) : plain.format(volume);
}

/** @param {number} count */
export function countText(count) {
  return plain.format(count);
}

/** @param {number} difference @param {string} text Its absolute value. */
export function signed(difference, text) {
  return difference > 0 ? `+${text}` : difference < 0 ? `${MINUS}${text}` : text;
}

/** @param {number} share 0.01 is a percent. */
export function percentText(share) {
  const rounded = Math.round(share * 1e4) / 100;
  return `${signed(rounded, Math.abs(rounded).toFixed(2))}%`;
}

/** @param {number} difference The shape beside the colour. */
export function arrow(difference) {
  return difference > 0 ? "▲" : difference < 0 ? "▼" : "■";
}

/** @param {number} difference @returns {"up" | "down" | "same"} */
export function direction(difference) {
  return difference > 0 ? "up" : difference < 0 ? "down" : "same";
}

/** @param {number} ms @returns {string} 10:30:00 */
export function timeText(ms) {
  return new Date(ms).toISOString().slice(11, 19);
}

/** @param {number} ms @returns {string} 2026-02-08 */
export function dateText(ms) {
  return new Date(ms).toISOString().slice(0, 10);
}

/** @param {number} ms @param {number} now @returns {string} The time; its date as well unless that is today's. */
export function momentText(ms, now) {
  return dateText(ms) === dateText(now) ? timeText(ms) : `${dateText(ms)} ${timeText(ms)}`;
}

/** @param {number} seconds A bucket's start. @param {number} length Of the bucket, in seconds. */
export function bucketText(seconds, length) {
  const iso = new Date(seconds * 1000).toISOString();
  return length >= 86400 ? iso.slice(0, 10) : `${iso.slice(0, 10)} ${iso.slice(11, 16)}`;
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
