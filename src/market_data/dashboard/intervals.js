/** Candle intervals: API name, button label, title and length in seconds. */

/** @typedef {{name: string, label: string, title: string, seconds: number}} Interval */

/** @type {readonly Interval[]} */
export const INTERVALS = Object.freeze([
  { name: "1m", label: "1m", title: "1 minute", seconds: 60 },
  { name: "5m", label: "5m", title: "5 minutes", seconds: 300 },
  { name: "15m", label: "15m", title: "15 minutes", seconds: 900 },
  { name: "30m", label: "30m", title: "30 minutes", seconds: 1800 },
  { name: "1h", label: "1h", title: "1 hour", seconds: 3600 },
  { name: "4h", label: "4h", title: "4 hours", seconds: 14400 },
  { name: "1d", label: "1D", title: "1 day", seconds: 86400 },
  { name: "1w", label: "1W", title: "1 week", seconds: 604800 },
]);

/** @param {string | null} name */
export function findInterval(name) {
  return INTERVALS.find((interval) => interval.name === name);
}
