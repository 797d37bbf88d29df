/** Time ranges that the chart can show, each with an interval whose candles fill it. */

import { INTERVALS } from "./intervals.js";

/** @typedef {import("./intervals.js").Interval} Interval */
/** @typedef {"1D" | "5D" | "1M" | "6M" | "YTD" | "1Y" | "All"} RangeName */

/** @type {readonly {name: RangeName, title: string}[]} */
export const RANGES = Object.freeze([
  { name: "1D", title: "1 day" },
  { name: "5D", title: "5 days" },
  { name: "1M", title: "1 month" },
  { name: "6M", title: "6 months" },
  { name: "YTD", title: "Year to date" },
  { name: "1Y", title: "1 year" },
  { name: "All", title: "All candles" },
]);
/** Loading more than this for a range would take too long. */
export const MAX_CANDLES = 50_000;
const SECONDS_PER_DAY = 86_400;
/** Months back, for the ranges of months. @type {Record<string, number>} */
const MONTHS = { "1M": 1, "6M": 6, "1Y": 12 };

/**
 * @param {RangeName} name
 * @param {number} end Time of the newest candle, in seconds.
 * @returns {number} Start of the range in seconds, 0 for all candles.
 */
export function rangeStart(name, end) {
  if (name === "1D") return end - SECONDS_PER_DAY;
  if (name === "5D") return end - 5 * SECONDS_PER_DAY;
  const date = new Date(end * 1000);
  if (name === "YTD") return Date.UTC(date.getUTCFullYear(), 0, 1) / 1000;
  if (name === "All") return 0;
  const day = date.getUTCDate();
  date.setUTCMonth(date.getUTCMonth() - MONTHS[name]);
  if (date.getUTCDate() !== day) date.setUTCDate(0); // 31 March minus one month is the last day of February
  return date.getTime() / 1000;
}

/** @param {number} seconds @param {number} maxCandles @returns {Interval} The shortest with at most so many candles. */
export function intervalFor(seconds, maxCandles) {
  return INTERVALS.find((interval) => seconds / interval.seconds <= maxCandles) ?? INTERVALS[INTERVALS.length - 1];
}

/** @param {string | null} name */
export function findRange(name) {
  return RANGES.find((range) => range.name === name)?.name ?? null;
}
